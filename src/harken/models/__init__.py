"""Floor 2: acoustic models, their families found by name, and model folders."""

from harken.core.lazy import lazy_names

_HOMES = {
    "CtcModel": "family",
    "LoadedModel": "folder",
    "ModelDescription": "description",
    "ModelFamily": "family",
    "ModelManager": "manager",
    "ModelManagerConfig": "manager",
    "ModelRegistry": "registry",
    "ModelSummary": "overview",
    "PretrainedParts": "pretrained",
    "Variant": "variants",
    "VariantSize": "variants",
    "WhisperModelManager": "manager",
    "advise": "advice",
    "checkpoint_layers": "checkpointing",
    "convert_nemo": "nemo.importer",
    "count_parameters": "family",
    "family_names": "family",
    "find_family": "family",
    "find_variant": "variants",
    "import_nemo": "nemo.importer",
    "load_model": "folder",
    "load_pretrained": "pretrained",
    "read_description": "description",
    "push_to_hub": "hub",
    "resolve_pretrained": "pretrained",
    "save_model": "folder",
    "size_of": "variants",
    "summarize": "overview",
    "training_bytes": "advice",
    "variant_of": "variants",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
