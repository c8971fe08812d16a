"""Small trainable parts on a base model: LoRA and bottleneck adapters, freezing, several adapters by name."""

from harken.core.lazy import lazy_names

_HOMES = {
    "AdapterConfig": "config",
    "TrainableReport": "freeze",
    "adapter_names": "attach",
    "add_adapter": "attach",
    "base_state_dict": "attach",
    "check_adapter_effect": "effect",
    "freeze_base": "freeze",
    "freeze_modules": "freeze",
    "load_adapter": "files",
    "merge_adapter": "attach",
    "remove_adapter": "attach",
    "save_adapter": "files",
    "set_adapters": "attach",
    "trainable_report": "freeze",
    "unfreeze": "freeze",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
