"""Pretrained models by the names people know: `WhisperModelManager().initialize_model(variant="tiny")`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from harken.core import InputError, MissingPart, Strict, Tokenizer, load_yaml, parse_settings
from harken.models.pretrained import PretrainedParts, family_of, load_pretrained, resolve_pretrained
from harken.models.variants import NEMO, WHISPER, find_variant, variants_of

NEMO_SUFFIX = ".nemo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManagerConfig(Strict):
    models_dir: str | None = None  # downloads, each called as its variant; looked into before the hub is asked
    seed: int = 0  # of weights that the pretrained model lacks, such as a new output layer
    settings: dict[str, Any] = field(default_factory=dict)  # options of the family's loader, such as freeze_encoder


class ModelManager:
    """Finds the known models, or any folder or hub id of their families, and loads them."""

    family: ClassVar[str | None] = None
    """The only family that is loaded; None is any."""
    prefix: ClassVar[str] = ""
    """What may be left out of a variant's name."""

    def __init__(self, config: ModelManagerConfig | Mapping[str, Any] | str | Path | None = None) -> None:
        """`config` may be a mapping of the fields of ModelManagerConfig, or a YAML file of them.

        Raises InputError that names what is wrong in it.
        """
        if not isinstance(config, ModelManagerConfig):
            source = str(config) if isinstance(config, str | Path) else type(self).__name__
            data = load_yaml(Path(config)) if isinstance(config, str | Path) else dict(config or {})
            config = parse_settings(ModelManagerConfig, data, source=source)
        self.config = config

    @classmethod
    def variants(cls) -> list[str]:
        """The names that `initialize_model` knows, as short as they can be."""
        return [variant.name.removeprefix(cls.prefix) for variant in variants_of(cls.family)]

    def initialize_model(self, variant: str | Path, *, tokenizer: Tokenizer | None = None) -> PretrainedParts:
        """The model of a variant, a local folder, a hub id or a .nemo file, with what has to travel with it.

        A `tokenizer` gives a CTC model a new vocabulary. Raises what `locate` and `load_pretrained` raise, and
        InputError for a model of another family than the manager's.
        """
        path = self.locate(variant)
        family = NEMO if path.suffix == NEMO_SUFFIX else family_of(path)
        if self.family not in (None, family):
            raise InputError(
                f"{variant} is of the family {family}, not {self.family}.", hint="Use ModelManager, which loads any."
            )
        if family == NEMO:
            return self._import_nemo(path, tokenizer)
        return load_pretrained(path, tokenizer=tokenizer, seed=self.config.seed, **self.config.settings)

    def locate(self, variant: str | Path) -> Path:
        """The local folder or .nemo file of a model, fetched from the hub where it is not here.

        Raises InputError for an unknown name, and MissingPart for a model that is neither here nor on the hub.
        """
        try:
            known = find_variant(str(variant), family=self.family, prefix=self.prefix)
        except InputError:
            path = Path(variant)
            if path.suffix == NEMO_SUFFIX and path.is_file():
                return path
            if "/" in str(variant) or path.exists():
                return resolve_pretrained(variant)
            raise
        suffix = NEMO_SUFFIX if known.family == NEMO else ""
        if self.config.models_dir is not None:
            copy = Path(self.config.models_dir).expanduser() / f"{known.name}{suffix}"
            if copy.exists():
                return copy
        if known.family == NEMO or known.hub_id is None:
            raise MissingPart(
                f"{known.name}{suffix} is not here, and .nemo files are not fetched.",
                hint="Download it from NVIDIA into a folder, and name that as models_dir.",
            )
        return resolve_pretrained(known.hub_id)

    def _import_nemo(self, path: Path, tokenizer: Tokenizer | None) -> PretrainedParts:
        from harken.models.nemo.importer import import_nemo

        if tokenizer is not None or self.config.settings:
            raise InputError(
                f"{path} keeps its own tokenizer and settings.",
                hint="Import it (harken models import), and train the folder with vocabulary: new.",
            )
        found = import_nemo(path)
        return PretrainedParts(
            family=NEMO, model=found.model, settings=found.settings, features=found.features, tokenizer=found.tokenizer
        )


class WhisperModelManager(ModelManager):
    """Loads Whisper models: `initialize_model(variant="tiny")` is openai/whisper-tiny."""

    family = WHISPER
    prefix = "whisper-"
