"""Floor 5: hardware, data set and model to a plan: batch sizes, memory and time of a training, known before it runs."""

from harken.core.lazy import lazy_names

_HOMES = {
    "ASRConfigManager": "manager",
    "Allocation": "allocation",
    "BucketPlanRow": "plan",
    "DatasetProfile": "dataset",
    "Decision": "plan",
    "HardwareProfile": "hardware",
    "LongUtterance": "dataset",
    "ModelProfile": "model",
    "OptimalConfig": "optimal_config",
    "Plan": "plan",
    "PlanSettings": "plan_inputs",
    "PlannedModel": "model",
    "TrainedParts": "model",
    "card_names": "hardware",
    "check_same": "plan",
    "create_optimal_config": "manager",
    "draw_plan": "picture",
    "find_hardware": "hardware",
    "find_preset": "presets",
    "make_plan": "planner",
    "planned_batch_sampler": "batch_sampler",
    "planned_model": "model",
    "preset_names": "presets",
    "profile_dataset": "dataset",
    "read_plan": "plan",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
