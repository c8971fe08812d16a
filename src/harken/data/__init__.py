"""Floor 2: manifests, importers, composition, validation, statistics, splits, versions, sampling, loading.

Names are looked up in their modules on first use, so that importing this room costs next to nothing.
"""

from typing import TYPE_CHECKING

from harken.core.lazy import lazy_names

if TYPE_CHECKING:
    from harken.data.augment import AugmentedSet, Treatment, augment_utterances, random_treatments
    from harken.data.batch import Batch
    from harken.data.cache import ArrayCache
    from harken.data.code_switched import code_switched_corpus
    from harken.data.compose import ComposeConfig, compose_utterances
    from harken.data.importers import ImportResult, Rejection, import_corpus
    from harken.data.loader import BatchLoader
    from harken.data.manifest import (
        ManifestError,
        Problem,
        check_manifest,
        iterate_manifest,
        read_manifest,
        write_manifest,
    )
    from harken.data.picture import draw_stats
    from harken.data.quality_stats import AudioStats, listen_and_summarize
    from harken.data.quality_table import quality_rows, write_quality_table
    from harken.data.sampler import BucketPlan, BucketSampler, plan_buckets
    from harken.data.select import SelectConfig, Selection, select_utterances
    from harken.data.shard_stream import ShardOrder, ShardStream
    from harken.data.shards import ShardSet, verify_shards, write_shards
    from harken.data.split import Split, split_by_count, split_by_ratio, split_by_tag
    from harken.data.stats import CorpusStats, FileSample, sample_files, summarize
    from harken.data.synthetic import connected_digits
    from harken.data.validate import ValidationConfig, ValidationReport, validate_utterances
    from harken.data.version import DatasetVersion, VersionCheck, read_version, verify_version, version_dataset

_HOMES = {
    "augment": ("AugmentedSet", "Treatment", "augment_utterances", "random_treatments"),
    "manifest": ("ManifestError", "Problem", "check_manifest", "iterate_manifest", "read_manifest", "write_manifest"),
    "importers": ("ImportResult", "Rejection", "import_corpus"),
    "compose": ("ComposeConfig", "compose_utterances"),
    "validate": ("ValidationConfig", "ValidationReport", "validate_utterances"),
    "stats": ("CorpusStats", "FileSample", "sample_files", "summarize"),
    "picture": ("draw_stats",),
    "quality_stats": ("AudioStats", "listen_and_summarize"),
    "quality_table": ("quality_rows", "write_quality_table"),
    "select": ("SelectConfig", "Selection", "select_utterances"),
    "split": ("Split", "split_by_count", "split_by_ratio", "split_by_tag"),
    "version": ("DatasetVersion", "VersionCheck", "read_version", "verify_version", "version_dataset"),
    "sampler": ("BucketPlan", "BucketSampler", "plan_buckets"),
    "batch": ("Batch",),
    "cache": ("ArrayCache",),
    "loader": ("BatchLoader",),
    "synthetic": ("connected_digits",),
    "code_switched": ("code_switched_corpus",),
    "shards": ("ShardSet", "verify_shards", "write_shards"),
    "shard_stream": ("ShardOrder", "ShardStream"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArrayCache",
    "AudioStats",
    "AugmentedSet",
    "Batch",
    "BatchLoader",
    "BucketPlan",
    "BucketSampler",
    "ComposeConfig",
    "CorpusStats",
    "DatasetVersion",
    "FileSample",
    "ImportResult",
    "ManifestError",
    "Problem",
    "Rejection",
    "SelectConfig",
    "Selection",
    "ShardOrder",
    "ShardSet",
    "ShardStream",
    "Split",
    "Treatment",
    "ValidationConfig",
    "ValidationReport",
    "VersionCheck",
    "augment_utterances",
    "check_manifest",
    "code_switched_corpus",
    "compose_utterances",
    "connected_digits",
    "draw_stats",
    "import_corpus",
    "iterate_manifest",
    "listen_and_summarize",
    "plan_buckets",
    "quality_rows",
    "random_treatments",
    "read_manifest",
    "read_version",
    "sample_files",
    "select_utterances",
    "split_by_count",
    "split_by_ratio",
    "split_by_tag",
    "summarize",
    "validate_utterances",
    "verify_shards",
    "verify_version",
    "version_dataset",
    "write_manifest",
    "write_quality_table",
    "write_shards",
]


__getattr__ = lazy_names(__name__, _HOME_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
