"""Presets: how much to train, for those who do not want to decide yet.

The requirements hold two tables that contradict each other. Their names are those of the second (demo, balanced, best),
which users meet; their numbers are those of the first (rows C17 and C18). With updates of 32 utterances the second
table's 50, 200 and 500 utterances make 2, 14 and 48 updates: the first of them ends before the warm-up does, and none
shows whether training works. The first table's make 32, 96 and 315.
"""

import difflib
from dataclasses import dataclass, replace

from harken.autoconfig.plan_inputs import PlanSettings
from harken.core import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How much to train, and with which model. `model` is the name of a known shape.

    `about_minutes` and `about_gib` are rough figures for one small GPU; a plan predicts them for the hardware at hand.
    """

    name: str
    model: str
    train_samples: int
    validation_samples: int
    epochs: int
    about_minutes: int
    about_gib: int

    def settings(self, base: PlanSettings | None = None) -> PlanSettings:
        """Settings of a plan: `base` with the preset's epochs and name."""
        return replace(base or PlanSettings(), num_epochs=self.epochs, preset=self.name)

    def split(self, total: int) -> tuple[int, int]:
        """Numbers of utterances for training and for validation, of `total` there are. Training takes its own first."""
        train = min(self.train_samples, total)
        return train, min(self.validation_samples, total - train)


PRESETS = (
    Preset(
        name="demo",
        model="openai/whisper-tiny",
        train_samples=500,
        validation_samples=100,
        epochs=2,
        about_minutes=10,
        about_gib=2,
    ),
    Preset(
        name="balanced",
        model="openai/whisper-base",
        train_samples=1000,
        validation_samples=200,
        epochs=3,
        about_minutes=30,
        about_gib=5,
    ),
    Preset(
        name="best",
        model="openai/whisper-small",
        train_samples=2000,
        validation_samples=400,
        epochs=5,
        about_minutes=60,
        about_gib=10,
    ),
)


def preset_names() -> list[str]:
    """Names of the presets, the quickest first."""
    return [preset.name for preset in PRESETS]


def find_preset(name: str) -> Preset:
    """The preset called `name`. Raises InputError that names the near ones."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    near = difflib.get_close_matches(name, preset_names(), n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(preset_names())}."
    raise InputError(f"No preset is called {name!r}.", hint=hint)
