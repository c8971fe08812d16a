"""Pretrained models as Hugging Face keeps them: a local folder always, the hub where it can be reached.

What the families of this kind share: finding the folder, reading its config.json, and loading its weights with
transformers in a way that says which tensors are wrong. transformers is imported inside the functions only.
"""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harken.audio.features import FeatureConfig
from harken.core import InputError, MissingPart, Tokenizer
from harken.models.family import AcousticModel
from harken.text.vocabulary import read_json_object

CONFIG_FILE = "config.json"
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
FAMILIES = {"wav2vec2": "wav2vec2-ctc", "hubert": "wav2vec2-ctc", "wavlm": "wav2vec2-ctc", "whisper": "whisper"}
"""Which of our families reads a folder, by the `model_type` of its config.json."""

_MODULES = {
    "wav2vec2-ctc": ("harken.models.wav2vec2", "load_wav2vec2"),
    "whisper": ("harken.models.whisper", "load_whisper"),
}
_OWN_OPTIONS = ("folder", "tokenizer", "seed")  # of every loader, which a recipe does not set
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?")
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_SAFETENSORS = ["model.safetensors", "model-*-of-*.safetensors"]
_PICKLES = ["pytorch_model.bin", "pytorch_model-*-of-*.bin"]
_NOT_ARCHITECTURE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedParts:
    """A pretrained model and what has to travel with it. `settings` are those of its family, as a recipe holds them."""

    family: str
    model: AcousticModel
    settings: Any
    features: FeatureConfig
    tokenizer: Tokenizer


def load_pretrained(
    name_or_folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    config_changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> PretrainedParts:
    """The model in a local folder or of a hub id, by the family its config.json belongs to.

    `tokenizer` gives a CTC model a new vocabulary, whose output layer is drawn from `seed`; without it the model keeps
    its own. `config_changes` are laid over config.json ({"layerdrop": 0.0}); `options` are those of the family's
    loader. Raises MissingPart or InputError as `resolve_pretrained` does, and for a tokenizer or weights that do not
    fit the configuration.
    """
    folder = resolve_pretrained(name_or_folder)
    load = _loader(family_of(folder))
    parts: PretrainedParts = load(folder, tokenizer=tokenizer, seed=seed, config_changes=config_changes, **options)
    return parts


def _loader(family: str) -> Any:
    module, function = _MODULES[family]
    return getattr(importlib.import_module(module), function)


def loader_options(family: str) -> list[str]:
    """What a recipe can set of a pretrained model of `family`: `config_changes`, and the options of its loader."""
    return sorted(inspect.signature(_loader(family)).parameters.keys() - set(_OWN_OPTIONS))


def read_features(folder: Path, config_changes: Mapping[str, Any] | None = None) -> FeatureConfig:
    """The features the model in `folder` hears, without loading it."""
    module, _ = _MODULES[family_of(folder)]
    features: FeatureConfig = importlib.import_module(module).read_features(folder, config_changes)
    return features


def resolve_pretrained(name_or_folder: str | Path, *, cache: Path | None = None) -> Path:
    """The local folder of a pretrained model: the folder given, or the snapshot of a hub id (`owner/name@revision`).

    Raises MissingPart for a folder that is absent or lacks its configuration or weights, and for a hub id that is
    neither cached nor can be downloaded; InputError for a model of a kind Harken does not read.
    """
    text = str(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    if not folder.exists():
        if isinstance(name_or_folder, Path) or not _HUB_ID.fullmatch(text):
            raise MissingPart(
                f"{text} does not exist.", hint="Give a folder with config.json, or a hub id such as owner/name."
            )
        folder = _download(text, cache)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Raise MissingPart or InputError unless `folder` holds the configuration and weights of a model we can read."""
    if not folder.is_dir():
        raise InputError(f"{folder} is a file.", hint="Give the folder that holds config.json and model.safetensors.")
    family_of(folder)
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise MissingPart(
            f"{folder} has no weights: none of {', '.join(WEIGHT_FILES)}.",
            hint="Copy the folder again, the weights included; adapters alone need their base model.",
        )
    with open(weights, "rb") as file:
        if file.read(30).startswith(b"version https://git-lfs"):
            raise MissingPart(f"{weights} is a Git LFS pointer, not the weights.", hint="Run git lfs pull there.")


def family_of(folder: Path) -> str:
    """The name of the family that reads `folder`, from its config.json."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise MissingPart(
            f"{folder} has no {CONFIG_FILE}.", hint="Give the folder that save_pretrained or a download wrote."
        )
    kind = read_json_object(path).get("model_type")
    if kind not in FAMILIES:
        ours = (folder / "harken.json").is_file()
        raise InputError(
            f"{path} has model_type {kind!r}, which Harken does not fine-tune.",
            hint="This is a model folder of Harken's: name it as model.initial."
            if ours
            else f"It reads {', '.join(FAMILIES)}.",
        )
    return FAMILIES[kind]


def _download(name: str, cache: Path | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError as err:
        raise MissingPart("The hub needs the package huggingface_hub.", hint="pip install 'harken[train]'") from err
    repository, _, revision = name.partition("@")

    def fetch(patterns: list[str]) -> Path:
        return Path(snapshot_download(repository, revision=revision or None, cache_dir=cache, allow_patterns=patterns))

    try:
        folder = fetch([*_SMALL_FILES, *_SAFETENSORS])
        if not any((folder / name).is_file() for name in WEIGHT_FILES):
            folder = fetch([*_SMALL_FILES, *_PICKLES])
    except HFValidationError as err:
        raise InputError(f"{name!r} is neither a folder nor a hub id: {err}.", hint="Check the spelling.") from err
    except OSError as err:  # everything the hub or the network can refuse is one of these
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise MissingPart(
            f"{name!r} is no local folder, and it could not be had from the hub ({reason}).",
            hint="Check the name and the network (HF_HUB_OFFLINE=1 forbids downloads), or copy the model to this "
            "machine and give its folder.",
        ) from err
    return folder


def read_config(folder: Path, changes: Mapping[str, Any] | None = None) -> Any:
    """The transformers configuration in `folder` with `changes` laid over it. Raises InputError for unknown ones."""
    return make_config({**read_json_object(folder / CONFIG_FILE)}, changes, source=str(folder / CONFIG_FILE))


def make_config(data: Mapping[str, Any], changes: Mapping[str, Any] | None = None, *, source: str) -> Any:
    """A transformers configuration from the content of a config.json."""
    try:
        from transformers import AutoConfig
    except ImportError as err:
        raise MissingPart("Pretrained models need transformers.", hint="pip install 'harken[train]'") from err
    kind = data.get("model_type")
    if kind not in FAMILIES:
        raise InputError(f"{source} has model_type {kind!r}.", hint=f"Harken reads {', '.join(FAMILIES)}.")
    kept = {key: value for key, value in data.items() if key not in (*_NOT_ARCHITECTURE, "model_type")}
    try:
        plain = AutoConfig.for_model(kind)
        unknown = [key for key in changes or {} if not hasattr(plain, key) and key not in data]
        if unknown:
            near = difflib.get_close_matches(unknown[0], plain.to_dict(), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "See the configuration class of transformers."
            raise InputError(f"{unknown[0]!r} is not a setting of {kind} models.", hint=hint)
        return AutoConfig.for_model(kind, **{**kept, **(changes or {})})
    except InputError:
        raise
    except Exception as err:  # the classes check themselves with errors of several unrelated kinds
        raise InputError(f"{source} is not a valid configuration: {' '.join(str(err).split())}.") from err


def config_settings(config: Any) -> dict[str, Any]:
    """A transformers configuration as plain data, without what says where it came from."""
    data: dict[str, Any] = config.to_diff_dict()
    kept = {key: value for key, value in data.items() if key not in _NOT_ARCHITECTURE}
    return {**kept, "model_type": config.model_type}


def new_network(auto_class: str, config: Any) -> Any:
    """A randomly initialised transformers model, drawn from PyTorch's global generator.

    Raises InputError for a configuration whose numbers fit no network.
    """
    import transformers

    with quiet_transformers():
        try:
            return getattr(transformers, auto_class).from_config(config)
        except (AssertionError, ValueError, TypeError, RuntimeError) as err:
            reason = " ".join(str(err).split())[:300].rstrip(".")
            raise InputError(
                f"The configuration of this {config.model_type} model fits no network: {reason}.",
                hint="Compare its config.json with that of a model that works.",
            ) from err


def load_network(auto_class: str, folder: Path, config: Any, *, seed: int, may_miss: tuple[str, ...] = ()) -> Any:
    """The transformers model in `folder` in float32; tensors that begin with one of `may_miss` may be absent or of
    another shape and are then drawn from `seed`.

    Raises InputError that names the tensors that are absent or of a wrong shape.
    """
    import transformers
    from safetensors import SafetensorError

    loader = getattr(transformers, auto_class)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network, report = loader.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # so that all of them are named below, not the first
                output_loading_info=True,
            )
        except (OSError, SafetensorError, RuntimeError, ValueError) as err:
            reason = " ".join(str(err).split())[:300]
            raise InputError(f"The weights in {folder} cannot be read: {reason}.", hint="Copy them again.") from err
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(may_miss))
    misshapen = sorted(item for item in report["mismatched_keys"] if not item[0].startswith(may_miss))
    if missing or misshapen:
        raise InputError(_wrong_tensors(folder, missing, misshapen), hint=_hint(missing, misshapen))
    return network


def _wrong_tensors(folder: Path, missing: list[str], misshapen: list[Any]) -> str:
    parts = []
    if misshapen:
        shown = [f"{name} is {tuple(found)}, expected {tuple(wanted)}" for name, found, wanted in misshapen[:_SHOWN]]
        parts.append(f"{len(misshapen)} tensors have a wrong shape ({'; '.join(shown)})")
    if missing:
        parts.append(f"{len(missing)} tensors are absent ({', '.join(missing[:_SHOWN])})")
    return f"The weights in {folder} do not fit its config.json: {' and '.join(parts)}."


def _hint(missing: list[str], misshapen: list[Any]) -> str:
    names = [*missing, *(item[0] for item in misshapen)]
    if all(name.startswith("lm_head") for name in names):
        return "The folder has no output layer for its vocabulary: train it with a new one (a tokenizer of yours)."
    return "config.json and the weights must come from the same model: copy the folder again."


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' own reports and progress bars off the screen: what matters is raised as an error."""
    from transformers.utils import logging as library

    logging: Any = library  # published without types

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
