"""The decoder of a Whisper in ONNX Runtime, with the keys and values of the tokens it has read. No torch.

Shapes: A windows of one call, B windows at first, K hypotheses of each, N = A * K rows of the cache, T tokens,
P positions of the encoder, H heads, W width of a head, V vocab.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harken.core import InputError
from harken.inference.whisper.rules import Ids, Scores

FEATURES, TOKENS, WANTED, SCORES = "features", "tokens", "wanted", "scores"
CROSS_KEY, CROSS_VALUE, CROSS_QUERY = "cross_key", "cross_value", "cross_query"
PAST_KEY, PAST_VALUE, PRESENT_KEY, PRESENT_VALUE = "past_key", "past_value", "present_key", "present_value"

Floats = npt.NDArray[np.float32]


def layered(kind: str, layers: Sequence[int] | range) -> list[str]:
    """Names of the inputs or outputs of `kind` of these layers."""
    return [f"{kind}.{layer}" for layer in layers]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEncoded:
    """Keys (B, H, W, P) and values (B, H, P, W) of each decoder layer's cross-attention."""

    keys: list[Floats]
    values: list[Floats]

    def __len__(self) -> int:
        return len(self.keys[0])

    def take(self, rows: Sequence[int]) -> Self:
        if list(rows) == list(range(len(self))):
            return self
        chosen = list(rows)
        return type(self)(keys=[key[chosen] for key in self.keys], values=[value[chosen] for value in self.values])


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperMetadata:
    """What both files say of their model. `alignment_heads` are (layer, head) of the cross-attention."""

    window_frames: int
    dimensions: int
    longest_tokens: int
    vocab_size: int
    layers: int
    heads: int
    head_width: int
    end_id: int
    suppressed: list[int]
    suppressed_first: list[int]
    alignment_heads: list[tuple[int, int]]
    weights_sha256: str

    def written(self) -> dict[str, str]:
        """As metadata of a file: all values are text, as ONNX wants them."""
        return {item.name: json.dumps(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def read(cls, session: Any) -> "WhisperMetadata":
        """Raises InputError for a file without."""
        found = session.get_modelmeta().custom_metadata_map
        try:
            values = {item.name: json.loads(found[item.name]) for item in fields(cls)}
            values["alignment_heads"] = [(int(layer), int(head)) for layer, head in values["alignment_heads"]]
        except (KeyError, ValueError, TypeError) as err:
            raise InputError(
                "The graph lacks the metadata of a Whisper's export.", hint="Run harken export again."
            ) from err
        return cls(**values)

    @property
    def query_layers(self) -> list[int]:
        """Layers whose queries to the cross-attention the decoder gives."""
        return sorted({layer for layer, _ in self.alignment_heads})


class DecoderRun:
    """The decoder over some windows, with the keys and values of the tokens it has read.

    `queries` (A, K, H, T, W) by layer are those of the last call to the cross-attention, where they are `kept`.
    """

    def __init__(self, session: Any, metadata: WhisperMetadata, encoded: OnnxEncoded, *, kept: bool = False) -> None:
        self._session, self._metadata, self._encoded = session, metadata, encoded
        self._device = place_of(session)
        self._owners = np.arange(len(encoded))  # the window of each row of the cache
        self._windows = list(range(len(encoded)))  # those of the next call, each with as many rows
        self._shape = len(encoded), 1
        self._cross = self._listen(self._windows)
        layers, self._queried = range(metadata.layers), metadata.query_layers if kept else []
        self._names = [
            SCORES, *layered(PRESENT_KEY, layers), *layered(PRESENT_VALUE, layers), *layered(CROSS_QUERY, self._queried)
        ]  # fmt: skip
        self._past_names = layered(PAST_KEY, layers) + layered(PAST_VALUE, layers)
        shape = (len(encoded), 1, metadata.heads)
        self._past = [
            _value(np.zeros((*shape, *none), np.float32))
            for none in [(metadata.head_width, 0)] * len(layers) + [(0, metadata.head_width)] * len(layers)
        ]
        self._read = 0
        self.queries: dict[int, Floats] = {}

    def __call__(self, tokens_AKT: Ids, wanted: Sequence[int]) -> Scores:
        """(A, K, len(wanted), V) scores after the `wanted` ones of further tokens of each row.

        Raises InputError for more tokens than the decoder has places for.
        """
        self._read += tokens_AKT.shape[2]
        if self._read > self._metadata.longest_tokens:
            raise InputError(
                f"A sequence has {self._read} tokens; the model reads {self._metadata.longest_tokens}.",
                hint="Shorten the prompt, or ask for fewer tokens.",
            )
        feeds = {TOKENS: _value(tokens_AKT.astype(np.int64)), WANTED: _value(np.array(list(wanted), np.int64))}
        feeds |= self._cross | dict(zip(self._past_names, self._past, strict=True))
        scores, *rest = self._session.run_with_ort_values(self._names, feeds)
        self._past, queries = rest[: len(self._past)], rest[len(self._past) :]
        self.queries = {layer: _numpy(query) for layer, query in zip(self._queried, queries, strict=True)}
        return _numpy(scores)

    def reorder(self, parents_N: Ids) -> tuple[int, int]:
        """Go on with these rows of the cache; returns (A, K) of the next call. The rows of a window lie together."""
        if np.array_equal(parents_N, np.arange(len(self._owners))):
            return self._shape
        self._owners = self._owners[parents_N]
        windows = list(dict.fromkeys(self._owners.tolist()))
        if self._owners.tolist() != np.repeat(windows, len(parents_N) // len(windows)).tolist():
            windows = self._owners.tolist()  # not as many rows of each: every row with a window of its own
        self._shape = len(windows), len(parents_N) // len(windows)
        rows = [array.reshape(-1, *array.shape[2:]).take(parents_N, axis=0) for array in map(_numpy, self._past)]
        self._past = [_value(array.reshape(*self._shape, *array.shape[1:])) for array in rows]
        if windows != self._windows:
            self._windows, self._cross = windows, self._listen(windows)
        return self._shape

    def _listen(self, windows: Sequence[int]) -> dict[str, Any]:
        """What these windows attend to, on the decoder's device."""
        part, layers = self._encoded.take(windows), range(self._metadata.layers)
        names = layered(CROSS_KEY, layers) + layered(CROSS_VALUE, layers)
        return {
            name: _value(array, *self._device) for name, array in zip(names, [*part.keys, *part.values], strict=True)
        }


def place_of(session: Any) -> tuple[str, int]:
    """(kind, number) of the device a session runs on."""
    provider = session.get_providers()[0]
    if provider == "CPUExecutionProvider":
        return "cpu", 0
    return "cuda", int(session.get_provider_options()[provider].get("device_id", 0))


def _value(array: npt.NDArray[Any], kind: str = "cpu", number: int = 0) -> Any:
    """The array for ONNX Runtime; on a CPU the same memory."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), kind, number)


def _numpy(value: Any) -> Floats:
    array: Floats = value.numpy()
    return array
