"""Floor 1: what ran, on what, with which data, seed and code, and where its numbers go."""

from harken.tracking.hardware import hardware_facts
from harken.tracking.lock import RunBusyError
from harken.tracking.provenance import collect_provenance, git_facts, installed_packages
from harken.tracking.run import RunFolder, new_run_id, read_events, read_metrics, read_record
from harken.tracking.sinks import MlflowSink, SafeSink, TensorBoardSink, open_sinks

__all__ = [
    "MlflowSink",
    "RunBusyError",
    "RunFolder",
    "SafeSink",
    "TensorBoardSink",
    "collect_provenance",
    "git_facts",
    "hardware_facts",
    "installed_packages",
    "new_run_id",
    "open_sinks",
    "read_events",
    "read_metrics",
    "read_record",
]
