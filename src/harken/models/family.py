"""What a model family is, and how one is found by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from harken.core import InputError, load_plugin, parse_settings, plugin_names

GROUP = "harken.model_families"
Task = Literal["transcribe", "translate"]


class CtcModel(nn.Module):
    """Base of acoustic models trained with CTC (Graves et al. 2006).

    `forward(features_BFM, frames_B)` gives unnormalised scores (batch, output frames, vocab) float32 and the number
    of output frames of each utterance. The scores of an utterance do not depend on what shares its batch.
    """

    subsampling: int
    """Feature frames for each output frame."""
    head: str = "output"
    """Name of the output layer, the only module whose shape the vocabulary decides."""
    blocks: tuple[str, ...] = ()
    """Names of the lists of repeated layers, for gradient checkpointing; none where they cannot be computed again."""
    front_products: int = 0
    """Matrix products, convolutions counted, that a model on samples begins with. 8 bits are too few for them."""

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def output_frames(self, frames_B: Tensor) -> Tensor:
        """Output frames for each number of feature frames, without running the model."""
        raise NotImplementedError(f"{type(self).__name__} has no output_frames()")


class Seq2SeqModel(nn.Module):
    """Base of encoder-decoder models that predict one token after the other (Sutskever et al. 2014).

    The encoder reads a window of sound once; what it gives, `encoded_BPD` (batch, positions, width), is what all else
    here works on.
    """

    language: str | None = None
    """What all the model was trained on is spoken in; None where it tells languages apart itself."""
    task: Task = "transcribe"
    """What the model was trained to write: what is said, or its translation."""
    blocks: tuple[str, ...] = ()
    """Names of the lists of repeated layers, for gradient checkpointing; none where they cannot be computed again."""

    def tell(self, language: str | None, task: Task) -> Any:
        """Set `language` and `task`; returns the model's settings with them."""
        raise NotImplementedError(f"{type(self).__name__} has no tell()")

    @property
    def window_frames(self) -> int:
        """Feature frames the encoder reads, no more and no fewer."""
        raise NotImplementedError(f"{type(self).__name__} has no window_frames")

    @property
    def longest_tokens(self) -> int:
        """Tokens of a sequence, the prompt and the end included."""
        raise NotImplementedError(f"{type(self).__name__} has no longest_tokens")

    def encode(self, features_BFM: Tensor) -> Tensor:
        """`encoded_BPD` of features (batch, window_frames, dimensions)."""
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    def score_tokens(self, encoded_BPD: Tensor, tokens_BT: Tensor, wanted_BT: Tensor | None = None) -> Tensor:
        """Unnormalised scores (batch, tokens, vocab) float32 under teacher forcing.

        `scores[:, t]` are those of the token after `tokens[:, t]`. With `wanted_BT` only the scores of those places, in
        row-major order: (wanted, vocab).
        """
        raise NotImplementedError(f"{type(self).__name__} has no score_tokens()")

    def generate(
        self, encoded_BPD: Tensor, *, prompts: Sequence[Sequence[int]], max_tokens: Sequence[int]
    ) -> list[list[int]]:
        """Greedy continuations of each row's prompt (all of one length), at most that many tokens of each row.

        Neither the prompt nor the token that ends a continuation is part of it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no generate()")

    def forward(
        self, features_BFM: Tensor, frames_B: Tensor, tokens_BT: Tensor, wanted_BT: Tensor | None = None
    ) -> Tensor:
        """`score_tokens` of features. `frames_B` does not count: a window is always full, with silence at its end."""
        return self.score_tokens(self.encode(features_BFM), tokens_BT, wanted_BT)


AcousticModel = CtcModel | Seq2SeqModel
"""What a family builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """A kind of model that recipes name.

    `settings_type` is a Strict dataclass; `build(settings, dimensions, vocab_size)` makes a randomly initialised
    model for features of `dimensions` and that many output ids (id 0 is the blank of a CtcModel).
    A `pretrained_only` family has a tokenizer of its own that comes with its weights.
    """

    name: str
    settings_type: type[Any]
    build: Callable[[Any, int, int], AcousticModel]
    pretrained_only: bool = False

    def parse(self, settings: dict[str, Any], *, source: str) -> Any:
        """The family's settings from a mapping. Raises InputError that names the wrong field."""
        return parse_settings(self.settings_type, settings, source=source)


def find_family(name: str) -> ModelFamily:
    """The family registered as `name`. Raises MissingPart that lists the known ones."""
    family = load_plugin(GROUP, name)
    if not isinstance(family, ModelFamily):
        raise InputError(f"The plugin {name!r} of {GROUP} is {type(family).__name__}, not a ModelFamily.")
    return family


def family_names() -> list[str]:
    """Names of the installed model families."""
    return plugin_names(GROUP)


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Number of weights in a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)
