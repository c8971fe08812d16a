"""Audio from the network: fetched whole, within `max_bytes`, before any decoder sees it.

Addresses come from manifests and command lines. A server must not pass on addresses that strangers chose: whoever
picks the address makes this machine send the request.
"""

import logging
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from harken.audio.limits import AudioDecodeError, AudioLimitError, DecodeLimits
from harken.core import MissingPart
from harken.core.units import format_bytes

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_IDLE_TIMEOUT_S = 30.0
_TOTAL_TIMEOUT_S = 600.0
_PIECE_BYTES = 1 << 20
_IN_MEMORY_BYTES = 16 << 20  # a larger download goes to a temporary file
_MAX_REDIRECTS = 5


def public_name(url: str) -> str:
    """A URL without what must not reach a log: user names, passwords, and the signatures in a query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    shown = urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")


def fetch(url: str, limits: DecodeLimits) -> bytes | int:
    """The bytes at a URL, or the handle of an unnamed temporary file that holds them (the caller closes it).

    Raises AudioDecodeError for an address that answers but has nothing for us, AudioLimitError beyond
    `limits.max_bytes`, MissingPart when nothing answers.
    """
    logger.debug("fetching %s", public_name(url))
    if urlsplit(url).scheme.lower() in ("http", "https"):
        return _fetch_http(url, limits)
    return _fetch_object(url, limits)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects between web addresses only; the standard handler would go to ftp: as well."""

    max_redirections = _MAX_REDIRECTS

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme.lower() not in ("http", "https"):
            raise AudioDecodeError(
                f"{public_name(req.full_url)} redirects to {public_name(newurl)}, which is not a web address."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch_http(url: str, limits: DecodeLimits) -> bytes | int:
    name = public_name(url)
    opener = urllib.request.build_opener(_SafeRedirects)
    request = urllib.request.Request(url, headers={"User-Agent": "harken", "Accept": "audio/*, */*;q=0.1"})
    try:
        with opener.open(request, timeout=_IDLE_TIMEOUT_S) as response:
            declared = response.headers.get("Content-Length", "")
            pieces = iter(lambda: response.read1(_PIECE_BYTES), b"")
            content, received = _collect(name, pieces, limits)
    except urllib.error.HTTPError as err:
        with err:
            raise AudioDecodeError(
                f"{name} answers {err.code} {err.reason}.", hint="Check the address and its permissions."
            ) from err
    except (OSError, ValueError) as err:  # URLError, timeouts and TLS errors are OSErrors
        raise _unreachable(name, err) from err
    if declared.isdigit() and received < int(declared):
        if isinstance(content, int):
            os.close(content)
        raise AudioDecodeError(
            f"{name} broke off after {received:,} of {int(declared):,} bytes.", hint="Try again, or download it first."
        )
    return content


def _fetch_object(url: str, limits: DecodeLimits) -> bytes | int:
    try:
        from obstore import exceptions
        from obstore.store import from_url
    except ImportError as err:
        raise MissingPart(
            "Reading s3://, gs:// and az:// needs the package obstore.", hint="Install it with: pip install obstore."
        ) from err
    from datetime import timedelta

    name = public_name(url)
    folder, _, key = url.rpartition("/")
    if not key or folder.endswith("/"):
        raise AudioDecodeError(f"{name} names no object.", hint="Write scheme://bucket/path/file.")
    try:
        store = from_url(
            folder,
            client_options={
                "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S),
                "timeout": timedelta(seconds=_TOTAL_TIMEOUT_S),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_IDLE_TIMEOUT_S)},
        )
        found = store.get(key)
        content, _ = _collect(name, map(bytes, found.stream(min_chunk_size=_PIECE_BYTES)), limits)
    except (exceptions.NotFoundError, FileNotFoundError) as err:
        raise AudioDecodeError(f"{name} does not exist.", hint="Check the bucket and the path.") from err
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as err:
        raise AudioDecodeError(
            f"{name} may not be read with these credentials.", hint="Set the store's usual environment variables."
        ) from err
    except (exceptions.BaseError, OSError, ValueError) as err:
        raise _unreachable(name, err) from err
    return content


def _collect(name: str, pieces: Iterable[bytes], limits: DecodeLimits) -> tuple[bytes | int, int]:
    """Put pieces together in memory, or in a temporary file when they are many; returns the content and its size."""
    deadline = time.monotonic() + _TOTAL_TIMEOUT_S
    received = 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        for piece in pieces:
            received += len(piece)
            if received > limits.max_bytes:
                raise AudioLimitError(
                    f"{name} has more than {format_bytes(limits.max_bytes)}, which is the limit.",
                    hint="Split the recording, or raise max_bytes.",
                )
            if time.monotonic() > deadline:
                raise AudioDecodeError(
                    f"{name} took longer than {_TOTAL_TIMEOUT_S:.0f} s to arrive.", hint="Download it first."
                )
            spool.write(piece)
        spool.seek(0)
        if received <= _IN_MEMORY_BYTES:
            return spool.read(), received
        return os.dup(spool.fileno()), received


def _unreachable(name: str, err: Exception) -> MissingPart:
    reason = " ".join(str(getattr(err, "reason", None) or err).split())
    return MissingPart(
        f"{name} cannot be fetched: {reason[:300]}.", hint="Check the network, the address and the credentials."
    )
