"""Whisper's tokenizer: byte-level BPE, and special tokens for language, task and time.

Files are those of Hugging Face (tokenizer.json, or vocab.json, merges.txt and added_tokens.json); no id is written
down here, all are looked up. Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".

A sequence is <|startoftranscript|> <|en|> <|transcribe|> <|notimestamps|> text <|endoftext|>. Models for English only
have neither language nor task in it. Id 0 is an ordinary unit: nothing here is a CTC blank.
"""

import difflib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from harken.core import InputError, MissingPart
from harken.core.files import write_json, write_text
from harken.text.vocabulary import CONFIG_FILE, VOCABULARY_FILE, TokenizerConfig, clean_text, read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

KIND = "whisper"
TOKENIZER_FILE = "tokenizer.json"
MERGES_FILE = "merges.txt"
ADDED_FILE = "added_tokens.json"
GENERATION_FILE = "generation_config.json"
START, END, NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
PREVIOUS = "<|startofprev|>"
TIME_STEP_S = 0.02  # from one time token to the next

Task = Literal["transcribe", "translate"]

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_TIME = re.compile(r"<\|(\d+\.\d\d)\|>")
# What Whisper calls some languages that newer tags call otherwise.
_ALIASES = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "ji": "yi", "cmn": "zh"}
_SPACE_UNIT = "\u0120"  # how byte-level BPE writes a space
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


class WhisperTokenizer:
    """Text to Whisper's ids. `encode` gives the units of the text alone; `labels` adds what stands around it.

    Text begins with a space, as in the transcripts Whisper was trained on, except in scripts written without spaces and
    where no unit holds the space together with a letter.
    """

    def __init__(self, backend: "Backend", *, multilingual: bool | None = None) -> None:
        """`multilingual` False leaves language and task out of the prompt; None: True where there are languages."""
        self._backend = backend
        self._added = {token.content: id_ for id_, token in backend.get_added_tokens_decoder().items()}
        table = backend.get_vocab(with_added_tokens=True)
        self._size = max(table.values(), default=-1) + 1
        self._units = {id_: unit for unit, id_ in table.items() if unit not in self._added}
        self._ids = table
        for token in (START, END, NO_TIMESTAMPS):
            if token not in table:
                raise InputError(f"The tokenizer has no {token}; it is not one of a Whisper model.")
        self.languages = {m[1]: id_ for unit, id_ in table.items() if (m := _LANGUAGE.fullmatch(unit))}
        self.multilingual = bool(self.languages) if multilingual is None else multilingual
        self._times = {round(float(m[1]), 2): id_ for unit, id_ in table.items() if (m := _TIME.fullmatch(unit))}
        self._time_ids = {id_: time_s for time_s, id_ in self._times.items()}
        # Byte-level BPE writes each byte as one printable character.
        self._bytes = {character: byte for byte, character in enumerate(_byte_characters())}

    @classmethod
    def train(cls, config: TokenizerConfig, texts: object) -> Self:
        """Always refused: this kind comes with a pretrained model."""
        raise InputError("A tokenizer of kind whisper comes with a pretrained model.", hint="Give that model's folder.")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer of a folder as transformers or Harken writes it.

        Raises MissingPart when its files are absent, InputError when they are damaged or not Whisper's.
        """
        backend = _backend_from_json(folder) if (folder / TOKENIZER_FILE).is_file() else _backend_from_parts(folder)
        multilingual = _optional(folder / CONFIG_FILE).get("multilingual")
        if multilingual is None:
            multilingual = _optional(folder / GENERATION_FILE).get("is_multilingual")
        return cls(backend, multilingual=multilingual)

    @property
    def vocab_size(self) -> int:
        return self._size

    @property
    def end(self) -> int:
        """The id that ends a transcript."""
        return self._ids[END]

    def token_id(self, token: str) -> int:
        """The id of a special token. Raises InputError for one the tokenizer lacks."""
        if token not in self._ids:
            near = difflib.get_close_matches(token, self._added, n=3)
            hint = f"Close ones: {', '.join(near)}." if near else ""
            raise InputError(f"The tokenizer has no token {token!r}.", hint=hint)
        return self._ids[token]

    def find_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self._ids.get(token)

    def language_id(self, language: str) -> int:
        """The token of a language given by its code, BCP-47 tag or English name.

        Raises InputError that lists close ones for a language the tokenizer lacks.
        """
        code = re.split(r"[-_]", language.strip().lower())[0]
        written = language.strip().lower()
        for form in (written, code, _ALIASES.get(code, code)):
            if form in self.languages:
                return self.languages[form]
        names = _language_names(self.languages)  # only now: it imports transformers
        if written in names:
            return self.languages[names[written]]
        by_name = difflib.get_close_matches(language.lower(), names, n=5, cutoff=0.6)
        by_code = [known for known in sorted(self.languages) if known[0] == code[:1]][:8]
        near = list(dict.fromkeys([*(f"{names[name]} ({name})" for name in by_name), *by_code]))
        raise InputError(
            f"The tokenizer has no token for the language {language!r}; it knows {len(self.languages)}.",
            hint=f"Close ones: {', '.join(near or sorted(self.languages)[:8]) or 'none'}. "
            "Choose a related language's token and fine-tune with it.",
        )

    def language_code(self, language: str | None) -> str | None:
        """The model's own code of a language it knows by any of its names; "en" for models of English only."""
        if not self.multilingual:
            return "en"
        if language is None:
            return None
        id_ = self.language_id(language)
        return next(code for code, known in self.languages.items() if known == id_)

    def prompt(self, *, language: str | None = None, task: Task = "transcribe", timestamps: bool = False) -> list[int]:
        """The tokens a transcript begins with. A multilingual model needs `language`."""
        ids = [self._ids[START]]
        if self.multilingual:
            if language is None:
                raise InputError("A multilingual Whisper needs a language.", hint="Such as en, uz or ru.")
            ids += [self.language_id(language), self.token_id(f"<|{task}|>")]
        elif task != "transcribe" or (language is not None and not _is_english(language)):
            raise InputError(
                f"This Whisper is for English only; it cannot {task} {language or 'another language'}.",
                hint="Take a multilingual one (without .en in its name).",
            )
        return ids if timestamps else [*ids, self._ids[NO_TIMESTAMPS]]

    def labels(
        self,
        text: str,
        *,
        language: str | None = None,
        task: Task = "transcribe",
        longest: int | None = None,
    ) -> list[int]:
        """The whole sequence of an utterance without times.

        Raises InputError when it is longer than `longest` (448 for OpenAI's models): it is never cut.
        """
        ids = [*self.prompt(language=language, task=task), *self.encode(text), self.end]
        return _within(ids, longest, text)

    def window_labels(
        self,
        segments: Sequence[tuple[float, float, str]],
        *,
        language: str | None = None,
        task: Task = "transcribe",
        longest: int | None = None,
    ) -> list[int]:
        """The sequence of a window that holds `segments` of (start_s, end_s, text) after one another, with times.

        One utterance with its times, or several packed into one window, each between its own two time tokens. Raises
        InputError for segments that overlap or leave the window, and for too many tokens as `labels` does.
        """
        ids = self.prompt(language=language, task=task, timestamps=True)
        before_s = 0.0
        for start_s, end_s, text in segments:
            if not before_s <= start_s <= end_s:
                raise InputError(
                    f"A segment from {start_s:g} to {end_s:g} s follows one that ends at {before_s:g} s.",
                    hint="Segments of a window come in order and do not overlap.",
                )
            ids += [self.time_id(start_s), *self.encode(text), self.time_id(end_s)]
            before_s = end_s
        return _within([*ids, self.end], longest, " ".join(text for _, _, text in segments))

    def time_id(self, seconds: float) -> int:
        """The nearest time token. Raises InputError outside the 30 s window, or where the tokenizer has none."""
        key = round(round(seconds / TIME_STEP_S) * TIME_STEP_S, 2)
        if key not in self._times:
            known = f"{min(self._times)} to {max(self._times)} s" if self._times else "no times"
            raise InputError(f"There is no token for {seconds:g} s; the tokenizer has {known}.")
        return self._times[key]

    @property
    def has_times(self) -> bool:
        return bool(self._times)

    def time_s(self, id_: int) -> float | None:
        """The time a token stands for; None for all others."""
        return self._time_ids.get(id_)

    def encode_all(self, texts: Sequence[str]) -> list[int]:
        """The ids of texts that follow one another, with a space between them where their script has spaces."""
        ids: list[int] = []
        for text in texts:
            spaced = ids and not _is_unspaced(clean_text(text))
            ids += self._ids_of(f" {clean_text(text)}") if spaced and self.encode(text) else self.encode(text)
        return ids

    def encode(self, text: str) -> list[int]:
        text = clean_text(text)
        if not text:
            return []
        for token in self._added:  # the library would take it for the token itself
            if token in text:
                raise InputError(f"The text holds {token!r}, a token of the model: {text[:80]!r}.")
        if not _is_unspaced(text):
            ids = self._ids_of(f" {text}")
            # A space by itself is what decoding suppresses at the beginning: it must not be the first thing to learn.
            if self._units.get(ids[0]) != _SPACE_UNIT:
                return ids
        return self._ids_of(text)

    def _ids_of(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special and time tokens say nothing, broken UTF-8 becomes U+FFFD."""
        return " ".join(word for word, _, _ in self.word_pieces(ids))

    def word_pieces(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        pieces = [self._piece(id_) for id_ in ids]
        starts = [
            place  # a time token stands between utterances, so a word does not go on behind it
            for place, (id_, piece) in enumerate(zip(ids, pieces, strict=True))
            if place == 0 or piece[:1].isspace() or id_ in self._time_ids
        ]
        words = []
        for first, end in pairwise([*starts, len(ids)]):
            text = b"".join(pieces[first:end]).decode(errors="replace")
            words += [(word, first, end) for word in text.split()]
        return words

    def _piece(self, id_: int) -> bytes:
        if not 0 <= id_ < self._size:
            raise ValueError(f"id {id_} is outside 0..{self._size - 1}")
        unit = self._units.get(id_, "")
        return bytes(self._bytes[character] for character in unit)

    def save(self, folder: Path) -> None:
        data = json.loads(self._backend.to_str())
        write_text(folder / TOKENIZER_FILE, json.dumps(data, ensure_ascii=False, indent=2) + "\n")
        write_json(folder / VOCABULARY_FILE, dict(sorted(data["model"]["vocab"].items(), key=lambda item: item[1])))
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]]
        write_text(folder / MERGES_FILE, "\n".join(["#version: 0.2", *merges]) + "\n")
        write_json(
            folder / ADDED_FILE, {unit: id_ for unit, id_ in self._added.items() if unit not in data["model"]["vocab"]}
        )
        write_json(
            folder / CONFIG_FILE,
            {
                "tokenizer_class": "WhisperTokenizer",
                "kind": KIND,
                "multilingual": self.multilingual,
                "bos_token": END,
                "eos_token": END,
                "unk_token": END,
                "pad_token": END,
                "add_prefix_space": False,
            },
        )


def _is_unspaced(text: str) -> bool:
    return unicodedata.name(text[:1] or " ", "").startswith(_UNSPACED)


def _within(ids: list[int], longest: int | None, text: str) -> list[int]:
    if longest is not None and len(ids) > longest:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(
            f"The transcript {shown!r} takes {len(ids)} tokens; the model reads {longest}.",
            hint="Cut the utterance into shorter ones, or leave it out.",
        )
    return ids


def _backend_from_json(folder: Path) -> "Backend":
    from tokenizers import Tokenizer

    path = folder / TOKENIZER_FILE
    try:
        return Tokenizer.from_file(str(path))
    except Exception as err:  # noqa: BLE001  the library raises bare Exception for every fault of a file
        raise InputError(f"{path} is not a tokenizer file: {err}.", hint="Copy it again.") from err


def _backend_from_parts(folder: Path) -> "Backend":
    """Older folders: vocab.json, merges.txt, added_tokens.json."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges_path = folder / MERGES_FILE
    vocabulary = dict(read_json_object(folder / VOCABULARY_FILE))
    if not merges_path.is_file():
        raise MissingPart(f"{merges_path} does not exist.", hint="Copy the tokenizer's files from the model again.")
    lines = merges_path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#version"))
    merges = [(left, right) for left, _, right in pairs]
    try:
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as err:  # noqa: BLE001  the library raises bare Exception for every fault of a file
        raise InputError(f"{folder / VOCABULARY_FILE} and {MERGES_FILE} disagree: {err}.", hint="Copy both.") from err
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    added = {**{str(unit): int(id_) for unit, id_ in _optional(folder / ADDED_FILE).items()}, **_decoder_tokens(folder)}
    order = sorted(added, key=added.__getitem__)
    backend.add_tokens([AddedToken(unit, normalized=False, special=_TIME.fullmatch(unit) is None) for unit in order])
    for unit, id_ in added.items():
        if backend.token_to_id(unit) != id_:
            raise InputError(
                f"{folder}: {unit} has id {id_}, but {backend.token_to_id(unit)} is its place behind vocab.json.",
                hint="vocab.json and added_tokens.json must come from the same model.",
            )
    if END in vocabulary and END not in added:
        backend.add_special_tokens([AddedToken(END, normalized=False, special=True)])
    return backend


def _decoder_tokens(folder: Path) -> dict[str, int]:
    listed = _optional(folder / CONFIG_FILE).get("added_tokens_decoder") or {}
    return {str(token["content"]): int(id_) for id_, token in listed.items()}


def _optional(path: Path) -> Mapping[str, Any]:
    return read_json_object(path) if path.is_file() else {}


def _language_names(known: Mapping[str, int]) -> dict[str, str]:
    """English names of the tokenizer's languages; none where transformers, which lists them, is absent."""
    try:
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE
    except ImportError:
        return {}
    return {name: code for name, code in TO_LANGUAGE_CODE.items() if code in known}


def _byte_characters() -> list[str]:
    """The character GPT-2's byte-level BPE writes for each byte: itself if printable, else the next above 255."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _is_english(language: str) -> bool:
    return re.split(r"[-_]", language.strip().lower())[0] in ("en", "english")
