"""Settings of an adapter, and the patterns that name modules."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Literal

from harken.core import InputError, Strict

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig(Strict):
    """What `add_adapter` adds.

    `targets` are module names or patterns with `*`, whole or from a dot on: "project_in", "layers.0.*". Empty means
    every Linear layer of the model's blocks for LoRA (Hu et al. 2021), and every block for bottleneck adapters
    (Houlsby et al. 2019).
    """

    name: str = "default"
    kind: Literal["lora", "bottleneck"] = "lora"
    targets: tuple[str, ...] = ()
    dropout: float = 0.0  # probability; on the input of LoRA, inside a bottleneck
    rank: int = 8  # lora
    alpha: float = 16.0  # lora; the update is scaled by alpha / rank
    adapter_dim: int = 256  # bottleneck; width of its hidden layer

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind not in ("lora", "bottleneck"):
            raise ValueError(f"kind is {self.kind!r}; use 'lora' or 'bottleneck'")
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; use 1 or more")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha is {self.alpha}; use a number above 0")
        if self.adapter_dim < 1:
            raise ValueError(f"adapter_dim is {self.adapter_dim}; use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; use a probability from 0 to below 1")
        if any(not target for target in self.targets):
            raise ValueError("targets has an empty name; leave targets out to use the default")
        for key in ("adapter_dim",) if self.kind == "lora" else ("rank", "alpha"):
            if getattr(self, key) != _default(key):
                raise ValueError(f"{key} does nothing for kind {self.kind!r}; leave it out")


def _default(key: str) -> object:
    return next(field.default for field in fields(AdapterConfig) if field.name == key)


def check_name(name: str) -> None:
    """Adapter names become parts of tensor names. Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"name is {name!r}; use letters, digits, - and _ only")


def is_named(name: str, pattern: str) -> bool:
    """Whether a pattern stands for a module: its whole name, or its name from some dot on."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def select_names(patterns: Sequence[str], names: Iterable[str], *, what: str) -> list[str]:
    """The names that any pattern stands for, in their order.

    Raises InputError for a pattern that stands for nothing; it lists what there is.
    """
    names = list(names)
    for pattern in patterns:
        if not any(is_named(name, pattern) for name in names):
            raise InputError(f"No {what} is called {pattern!r}.", hint=f"There are: {listed(names)}.")
    return [name for name in names if any(is_named(name, pattern) for pattern in patterns)]


def listed(names: Sequence[str]) -> str:
    """Names for a message: all of a few, the first of many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
