"""What a model family is, and how one is found by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from harken.core import InputError, load_plugin, parse_settings, plugin_names

GROUP = "harken.model_families"


class CtcModel(nn.Module):
    """Base of acoustic models trained with CTC (Graves et al. 2006).

    `forward(features_BFM, frames_B)` gives unnormalised scores (batch, output frames, vocab) float32 and the number
    of output frames of each utterance. The scores of an utterance do not depend on what shares its batch.
    """

    subsampling: int
    """Feature frames for each output frame."""

    def forward(self, features_BFM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def output_frames(self, frames_B: Tensor) -> Tensor:
        """Output frames for each number of feature frames, without running the model."""
        raise NotImplementedError(f"{type(self).__name__} has no output_frames()")


class Seq2SeqModel(nn.Module):
    """Base of encoder-decoder models that predict one token after the other (Sutskever et al. 2014).

    `forward(features_BFM, frames_B, tokens_BT)` gives unnormalised scores (batch, tokens, vocab) float32 under teacher
    forcing: `scores[:, t]` are those of the token after `tokens[:, t]`.
    """

    def forward(self, features_BFM: Tensor, frames_B: Tensor, tokens_BT: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def generate(
        self, features_BFM: Tensor, frames_B: Tensor, *, prompt: Sequence[int], max_tokens: int
    ) -> list[list[int]]:
        """Greedy continuations of `prompt`, without it and without the token that ends them."""
        raise NotImplementedError(f"{type(self).__name__} has no generate()")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """A kind of model that recipes name.

    `settings_type` is a Strict dataclass; `build(settings, dimensions, vocab_size)` makes a randomly initialised
    model for features of `dimensions` and that many output ids (id 0 is the blank).
    """

    name: str
    settings_type: type[Any]
    build: Callable[[Any, int, int], CtcModel]

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
