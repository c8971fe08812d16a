"""Floor 0: units, value types, protocols, errors, plugin lookup, settings, seeds, files. numpy, never torch."""

from harken.core.config import Strict, apply_overrides, dump_settings, load_yaml, parse_settings
from harken.core.errors import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused
from harken.core.plugins import load_plugin, plugin_names
from harken.core.protocols import Importer, MetricSink, Recognizer, RejectFunction, Tokenizer
from harken.core.seeds import derive_seed, keyed_generator
from harken.core.values import Features, Segment, Transcript, Utterance, Waveform, Word

__all__ = [
    "Features",
    "HarkenError",
    "Importer",
    "InputError",
    "MetricSink",
    "MissingPart",
    "Recognizer",
    "RejectFunction",
    "RunFailed",
    "Segment",
    "ServiceRefused",
    "Strict",
    "Tokenizer",
    "Transcript",
    "Utterance",
    "Waveform",
    "Word",
    "apply_overrides",
    "derive_seed",
    "dump_settings",
    "keyed_generator",
    "load_plugin",
    "load_yaml",
    "parse_settings",
    "plugin_names",
]
