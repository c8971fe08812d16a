"""NVIDIA NeMo manifests: JSON Lines with `audio_filepath`, `duration`, `text`."""

from collections.abc import Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, measure_candidates
from harken.data.manifest import scan_manifest
from harken.data.manifest_line import is_url

_LANGUAGE_KEYS = ("lang", "target_lang", "source_lang")


def import_nemo(
    source: Path, *, reject: RejectFunction, probe: bool = True, threads: int | None = None
) -> Iterator[Utterance]:
    """Utterances of one manifest, or of every .json, .jsonl and .jsonl.gz file directly in a folder, in order.

    Audio paths are relative to their manifest. `lang` (or `target_lang`, `source_lang`) becomes the language; other
    keys are kept. Of several manifests, each gives its name as the tag "part" and, before a slash, to the ids.
    `probe=False` believes the durations and opens no audio. Rejected are bad lines, with what is wrong, audio that is
    remote or inside a tar file, and unusable files. Raises InputError where there is no manifest.
    """
    manifests = _manifests(source)

    def candidates() -> Iterator[Candidate]:
        for manifest in manifests:
            for line, utterance, complaints in scan_manifest(manifest):
                item = f"{manifest.name}:{line}"
                if utterance is None:
                    reject(item, "; ".join(f"{key} {message}".strip() for key, message in complaints))
                elif is_url(utterance.audio):
                    reject(item, f"{utterance.audio} is not a file on this machine")
                elif "shard_id" in utterance.extra and not Path(utterance.audio).exists():
                    reject(item, "its audio is inside a tar file (shard_id); unpack the shards first")
                else:
                    yield _candidate(item, utterance, manifest.stem if len(manifests) > 1 else "")

    yield from measure_candidates(candidates(), reject=reject, probe=probe, threads=threads)


def _candidate(item: str, utterance: Utterance, part: str) -> Candidate:
    extra = dict(utterance.extra)
    language = utterance.language
    for key in _LANGUAGE_KEYS:
        if language is None and isinstance(extra.get(key), str):
            language = extra.pop(key)
    return Candidate(
        item=item,
        id=f"{part}/{utterance.id}" if part else utterance.id,
        audio=Path(utterance.audio),
        text=utterance.text,
        offset_s=utterance.offset_s,
        duration_s=utterance.duration_s,
        speaker=utterance.speaker,
        language=language,
        recording=utterance.recording,
        tags={**utterance.tags, "part": part} if part else utterance.tags,
        extra=extra,
    )


def _manifests(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.exists():
        raise InputError(f"{source} does not exist.", hint="Check the path.")
    found = sorted(path for path in source.iterdir() if path.name.endswith((".json", ".jsonl", ".jsonl.gz")))
    if not found:
        raise InputError(f"{source} has no .json or .jsonl manifest.", hint="Name the manifest itself.")
    return found
