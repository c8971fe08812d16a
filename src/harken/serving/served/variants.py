"""A loaded model with the options of a request: what it can take is done, what it cannot is refused by name."""

import re
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import NoReturn

from harken.core import InputError, Recognizer
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.routing import LanguageRouter
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.serving.contract import DEFAULT_MODEL, TranscribeOptions
from harken.serving.served.hotwords import HotwordDecoders, check_hotwords
from harken.text.languages import primary_language
from harken.text.whisper_tokenizer import WhisperTokenizer

_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,4}")
_NEWER_NAMES = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "ji": "yi", "cmn": "zh"}  # of Whisper's


class Variants:
    """Recognizers of one loaded model by the options of requests. Equal options give the same object, so that requests
    with equal options can share a pass. Any thread may call it.
    """

    def __init__(self, recognizer: Recognizer, *, languages: tuple[str, ...], most: int) -> None:
        """`languages` are those the model's folder names; at most `most` variants are kept."""
        self._recognizer, self._languages, self._most = recognizer, languages, most
        self._kept: OrderedDict[TranscribeOptions, Recognizer] = OrderedDict()
        self._lock = threading.Lock()
        self._hotwords = HotwordDecoders(recognizer) if isinstance(recognizer, CtcRecognizer) else None

    def known(self, options: TranscribeOptions) -> Recognizer | None:
        """A variant that needs no work; None where `make` has to."""
        key = replace(options, model=DEFAULT_MODEL)
        if key == TranscribeOptions():
            return self._recognizer
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def make(self, options: TranscribeOptions) -> Recognizer:
        """The variant for `options`. Raises InputError that names the parameter and what the model takes."""
        key = replace(options, model=DEFAULT_MODEL)
        made = self._made(key)
        with self._lock:
            made = self._kept.setdefault(key, made)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made

    def _made(self, options: TranscribeOptions) -> Recognizer:
        if options.language is not None and _TAG.fullmatch(options.language) is None:
            raise InputError(f"language is {options.language[:40]!r}.", hint="Use a BCP-47 tag, such as en or uz.")
        check_hotwords(options.hotwords)
        if isinstance(self._recognizer, WhisperRecognizer):
            return whisper_variant(self._recognizer, options)
        if isinstance(self._recognizer, LanguageRouter):
            return _router_variant(self._recognizer, options)
        return self._ctc_variant(options)

    def _ctc_variant(self, options: TranscribeOptions) -> Recognizer:
        _refuse_unless_plain(options, "this model has a CTC output, which takes hotwords only")
        if options.language is not None:
            self._check_language(options.language)
        if not options.hotwords:
            return self._recognizer
        if self._hotwords is None:
            _refuse("hotwords", "this model takes none")
        return self._hotwords.recognizer(options.hotwords)

    def _check_language(self, language: str) -> None:
        """A model that writes one language may be told that one: it changes nothing. One whose folder names no
        languages may be told any: nothing contradicts it, and clients often send one."""
        known = {primary_language(tag) for tag in self._languages}
        if known and primary_language(language) not in known:
            takes = f"this model is for {', '.join(self._languages)}"
            raise InputError(f"language is {language!r}; {takes}.", hint="Leave it out, or use another model.")


def whisper_variant(recognizer: WhisperRecognizer, options: TranscribeOptions) -> WhisperRecognizer:
    """A Whisper with the language, task, prompt, hotwords (as words before the prompt) and temperature of `options`.

    A temperature is where decoding begins; what fails there is tried at the model's own higher ones.
    """
    tokenizer, config = recognizer.tokenizer, recognizer.config
    if options.language is not None:
        code = _whisper_language(options.language, tokenizer)
        if tokenizer.multilingual:
            config = replace(config, language=code, multilingual=False)
    if options.task == "translate":
        if not tokenizer.multilingual:
            _refuse("task", "this Whisper is for English only and cannot translate")
        config = replace(config, task="translate")
    if options.temperature is not None:
        config = replace(config, temperatures=_temperatures(options.temperature, config))
    texts = [", ".join(options.hotwords), options.prompt or config.initial_prompt or ""]
    config = replace(config, initial_prompt=" ".join(text for text in texts if text.strip()) or None)
    if config == recognizer.config:
        return recognizer
    try:
        return recognizer.with_config(config)
    except InputError as err:
        named = "prompt" if options.prompt else "hotwords"
        raise InputError(err.message.replace("initial_prompt", named), hint=err.hint) from err


def _whisper_language(language: str, tokenizer: WhisperTokenizer) -> str:
    code = primary_language(language)
    code = code if code in tokenizer.languages else _NEWER_NAMES.get(code, code)
    if not tokenizer.multilingual and code == "en":
        return code
    if not tokenizer.multilingual:
        raise InputError(
            f"language is {language!r}; this Whisper is for English only.", hint="Leave it out, or use en."
        )
    if code not in tokenizer.languages:
        known = ", ".join(sorted(tokenizer.languages))
        raise InputError(f"language is {language!r}; this model takes {known}.", hint="Use one of them.")
    return code


def _temperatures(first: float, config: WhisperDecodingConfig) -> tuple[float, ...]:
    if not 0 <= first <= 1:
        raise InputError(f"temperature is {first}.", hint="Use 0 to 1.")
    return first, *(higher for higher in config.temperatures if higher > first)


def _router_variant(router: LanguageRouter, options: TranscribeOptions) -> Recognizer:
    reason = "this model is several ones, chosen by the language, and takes a language only"
    _refuse_unless_plain(options, reason)
    if options.hotwords:
        _refuse("hotwords", reason)
    if options.language is None:
        return router
    codes = {primary_language(tag) for tag in router.config.routes}
    if router.config.default is None and primary_language(options.language) not in codes:
        known = ", ".join(router.config.routes)
        raise InputError(f"language is {options.language!r}; this model is for {known}.", hint="Use one of them.")
    return router.told(options.language)


def _refuse_unless_plain(options: TranscribeOptions, reason: str) -> None:
    """Task, prompt and temperature are for encoder-decoder models; the temperature 0 means what others do anyway."""
    if options.task != "transcribe":
        _refuse("task", reason)
    if options.prompt:
        _refuse("prompt", reason)
    if options.temperature:
        _refuse("temperature", reason)


def _refuse(name: str, reason: str) -> NoReturn:
    raise InputError(f"{name} is given, but {reason}.", hint=f"Leave {name} out, or use another model.")
