"""Floor 1: what outlives a request: the database, jobs, stored files, the cache."""

from harken.core.lazy import lazy_names

_HOMES = {
    "AuditLog": "audit",
    "BlobStore": "blobs",
    "Cache": "cache",
    "Claim": "job_views",
    "Database": "database",
    "DeliveryQueue": "deliveries",
    "JobQueue": "jobs",
    "JobView": "job_views",
    "RequestRow": "audit",
    "StorageSettings": "settings",
    "masked": "settings",
    "open_cache": "cache",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
