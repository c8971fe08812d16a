"""What a job of files holds: made when it is taken over HTTP, read when it is worked on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harken.core import parse_settings
from harken.http.auth import Principal
from harken.serving.contract import TranscribeOptions
from harken.storage.job_views import Claim

KIND = "transcribe"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWork:
    """One file of a job: where its audio is kept, and what to do with it for whom.

    `name` is what the client calls it, for showing only.
    """

    blob: str
    name: str
    options: TranscribeOptions
    word_times: bool
    principal: Principal


def job_payload(options: TranscribeOptions, *, word_times: bool, principal: Principal) -> dict[str, Any]:
    """What all files of a job share."""
    return {
        "options": asdict(options),
        "word_times": word_times,
        "principal": {**asdict(principal), "scopes": sorted(principal.scopes)},
    }


def item_payload(blob: str, name: str) -> dict[str, Any]:
    """What is one file's own."""
    return {"blob": blob, "name": name}


def file_work(claim: Claim) -> FileWork:
    """The work of a claimed item. Raises InputError for one that another version of Harken wrote."""
    return parse_settings(FileWork, {**_known(claim.job_payload), **claim.payload}, source=f"job {claim.job_id}")


def _known(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: payload[name] for name in ("options", "word_times", "principal") if name in payload}
