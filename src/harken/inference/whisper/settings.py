"""Decoding settings of a model folder under an engine's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harken.inference.config import EngineConfig
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.text.whisper_tokenizer import Task


def decoding_settings(
    settings: WhisperDecodingConfig, config: EngineConfig, generation: Mapping[str, Any]
) -> WhisperDecodingConfig:
    """`settings` with the engine's language and task, and where nobody says them the model's own.

    `generation` is generation_config.json: a fine-tuned model carries the language it was trained for.
    """
    own_language = None if settings.multilingual else _language(generation.get("language"))
    own_task: Task = "translate" if generation.get("task") == "translate" else "transcribe"
    return replace(
        settings,
        language=config.language or settings.language or own_language,
        task=config.task or settings.task or own_task,
    )


def _language(value: Any) -> str | None:
    """The code in generation_config.json's `language`, which may be written as its token."""
    return str(value).strip("<|>") if value else None
