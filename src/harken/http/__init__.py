"""Floor 2: what both HTTP APIs share: authentication, limits, errors, request ids, metrics."""

from harken.core.lazy import lazy_names

_HOMES = {
    "AuthSettings": "auth",
    "Authenticator": "auth",
    "Drain": "drain",
    "HttpMetrics": "metrics",
    "LimitSettings": "limits",
    "Limiter": "limits",
    "Middleware": "middleware",
    "Outbound": "outbound",
    "Principal": "principals",
    "configure_logging": "logs",
    "install_middleware": "middleware",
    "public": "auth",
    "require_policies": "auth",
    "requires": "auth",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
