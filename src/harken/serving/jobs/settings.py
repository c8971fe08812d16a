"""Settings of jobs and webhooks."""

from dataclasses import dataclass, field

from harken.core import Strict
from harken.http.outbound import OutboundSettings

LEAST_SECRET = 32  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings(Strict):
    """A batch of up to `sync_files` files and `sync_bytes` in all is answered at once; more become a job."""

    workers: int = 1  # files of jobs this process transcribes at a time; 0 leaves them to `harken worker`
    sync_files: int = 8
    sync_bytes: int = 32 * 1024**2
    most_files: int = 1000
    lease_s: float = 60.0  # a worker that is not heard of for so long has lost its file to another
    poll_s: float = 1.0
    keep_s: float = 7 * 86_400.0  # of a finished job and its files
    outage_s: float = 6 * 3_600.0  # so long a file waits for the store or a model before that counts as its failure

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= 64:
            raise ValueError(f"workers is {self.workers}; use 0 to 64")
        if not 0 <= self.sync_files <= self.most_files:
            raise ValueError(f"sync_files is {self.sync_files}; use 0 to most_files ({self.most_files})")
        if self.most_files < 1 or self.sync_bytes < 0:
            raise ValueError(f"most_files is {self.most_files}, sync_bytes {self.sync_bytes}; use 1 and 0 or more")
        for name in ("lease_s", "poll_s", "keep_s"):
            if not 0 < getattr(self, name) < 1e9:
                raise ValueError(f"{name} is {getattr(self, name)}; use seconds above 0")
        if not 0 <= self.outage_s < 1e9:
            raise ValueError(f"outage_s is {self.outage_s}; use seconds, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(Strict):
    """Webhooks are off without a `secret`, which signs them."""

    secret: str | None = field(default=None, repr=False)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)

    def __post_init__(self) -> None:
        if self.secret is not None and len(self.secret) < LEAST_SECRET:
            raise ValueError(f"secret has {len(self.secret)} characters; use {LEAST_SECRET} or more")
