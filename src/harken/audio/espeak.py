"""The espeak-ng library in this process: its engine, voices and variants (the optional extra `synthesis`).

espeak-ng keeps global C state: `LOCK` is held around every use of the engine.
"""

import ctypes
import difflib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from harken.core import InputError, MissingPart, RunFailed, Waveform

# Constants of speak_lib.h
_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POSITION_CHARACTER = 1
_TEXT_UTF8 = 1
_IPA_WITH_SEPARATOR = 0x02 | ord("_") << 8  # "_" between phonemes

_RANDOM_SEED = 1

_INSTALL_HINT = "Install it with: pip install 'harken[synthesis]'."

LOCK = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice of espeak-ng. `synthesize` takes its `name` or its `language` (`en`, `en-US`, `ru`, `uz`, `hi`, …)."""

    name: str
    language: str  # BCP-47
    description: str


class _VoiceRecord(ctypes.Structure):
    """espeak_VOICE of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # a priority byte, then the language
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Engine:
    """The library, initialised once. Its callers hold the lock."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as err:
            raise MissingPart(
                "Speech synthesis and pronunciation need the package espeakng-loader.", hint=_INSTALL_HINT
            ) from err
        try:
            self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
            data_path = espeakng_loader.get_data_path()
        except (OSError, RuntimeError) as err:
            raise MissingPart(f"espeak-ng cannot be loaded: {err}.", hint=_INSTALL_HINT) from err
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        self.sample_rate_hz: int = self._library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS, 0, str(data_path).encode(), _INITIALIZE_DONT_EXIT
        )
        if self.sample_rate_hz <= 0:
            raise MissingPart("espeak-ng finds no data of its own.", hint=_INSTALL_HINT)
        self._pieces: list[bytes] = []
        self._callback = _Callback(self._receive)  # C keeps only the address: the object must outlive it
        self._library.espeak_SetSynthCallback(self._callback)

    def records(self, kind: bytes | None) -> list[tuple[str, str, str]]:
        """(description, language, identifier) of the voices, or with kind b"variant" of the variants."""
        wanted = _VoiceRecord(languages=kind)
        found = self._library.espeak_ListVoices(ctypes.byref(wanted) if kind else None)
        records = []
        index = 0
        while found[index]:
            record = found[index].contents
            records.append((record.name.decode(), record.languages[1:].decode(), record.identifier.decode()))
            index += 1
        return records

    def set_voice(self, name: str) -> None:
        self._check(self._library.espeak_SetVoiceByName(name.encode()), f"choosing the voice {name}")

    def set_parameter(self, parameter: int, value: int) -> None:
        self._check(self._library.espeak_SetParameter(parameter, value, 0), f"setting parameter {parameter} to {value}")

    def speak(self, text: str) -> Waveform:
        data = text.encode() + b"\0"
        self._pieces.clear()
        # espeak-ng seeds its breath and flutter by the clock when it starts; with that, no two processes would agree.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_RANDOM_SEED))
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data)), 0, _POSITION_CHARACTER, 0, _TEXT_UTF8, None, None
        )
        self._check(status, "speaking")
        self._check(self._library.espeak_Synchronize(), "speaking")
        samples = np.frombuffer(b"".join(self._pieces), np.int16)
        self._pieces.clear()
        return samples.astype(np.float32) / np.float32(32768)

    def phonemes(self, text: str) -> str:
        """IPA of a text, "_" between phonemes, a space between words."""
        convert = self._library.espeak_TextToPhonemes
        convert.restype = ctypes.c_char_p
        data = ctypes.create_string_buffer(text.encode("utf-8", "replace"))
        rest = ctypes.c_void_p(ctypes.addressof(data))
        clauses = []
        while rest.value:  # one clause a call; the pointer moves on and becomes null behind the last
            found = convert(ctypes.byref(rest), _TEXT_UTF8, _IPA_WITH_SEPARATOR) or b""
            clauses.append(found.decode("utf-8", "replace"))
        return " ".join(clauses)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    @staticmethod
    def _check(status: int, doing: str) -> None:
        if status != 0:
            raise RunFailed(f"espeak-ng failed with code {status} while {doing}.")


@cache
def engine() -> Engine:
    return Engine()


@cache
def voices() -> dict[str, tuple[Voice, str]]:
    """Voices with the identifiers espeak-ng knows them by, keyed by lower-case name."""
    with LOCK:
        records = engine().records(None)
    found = {}
    for description, language, identifier in records:
        name = identifier.rpartition("/")[2]
        found[name.lower()] = (Voice(name=name, language=language, description=description), identifier)
    return found


@cache
def variants() -> dict[str, str]:
    """Names of the variants, keyed in lower case."""
    with LOCK:
        records = engine().records(b"variant")
    names = [identifier.rpartition("/")[2] for _, _, identifier in records]
    return {name.lower(): name for name in names}


def resolve(voice: str) -> str:
    """What espeak-ng calls a voice. It takes unknown variants in silence and misses some languages, so we look."""
    name, plus, variant = voice.partition("+")
    known_voices = voices()
    by_language = {known.language.lower(): identifier for known, identifier in known_voices.values()}
    entry = known_voices.get(name.lower())
    identifier = entry[1] if entry else by_language.get(name.lower())
    if identifier is None:
        described = [
            known.name for known, _ in known_voices.values() if name and name.lower() in known.description.lower()
        ]
        raise InputError(f"There is no voice {name!r}.", hint=_near(name, [*known_voices, *by_language], described))
    if not plus:
        return identifier
    known_variant = variants().get(variant.lower())
    if known_variant is None:
        raise InputError(f"There is no variant {variant!r} of a voice.", hint=_near(variant, variants().values()))
    return f"{identifier}+{known_variant}"


def _near(name: str, known: Iterable[str], described: Sequence[str] = ()) -> str:
    """A hint that lists names like `name`, those whose description holds it first."""
    spelled = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), sorted(spelled), n=5, cutoff=0.4) or sorted(spelled)[:5]
    near = list(dict.fromkeys([*described, *(spelled[choice] for choice in close)]))[:5]
    return f"Near it: {', '.join(near)}. See listvoices() and listvariants()."
