"""Requests and forms as bytes, such as no client library would send."""

from tests.serving.faults.server_process import NATIVE

BOUNDARY = "limit"
NAMES = {
    "traversal": "../../../../tmp/harken-canary/../../escaped.wav",
    "absolute": "/tmp/harken-escaped.wav",
    "backslashes": "..\\..\\escaped.wav",
    "escaped CRLF": "a%0d%0aSet-Cookie: evil=1.wav",
    "NUL": "a\0.wav",
    "escaped NUL": "a%00.wav",
    "ANSI": "\x1b[2Ja.wav",
    "3,000 letters": "a" * 3_000 + ".wav",
    "7,000 letters": "a" * 7_000 + ".wav",
    "no letters": "\xff\xfe.wav",
    "playlist": "a.m3u8",
}
"""Names of files that nobody has."""


def head(path: str, *headers: str) -> bytes:
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", kind, *headers, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def part(name: str, data: bytes, *, file: str | None = None) -> bytes:
    named = "" if file is None else f'; filename="{file}"'
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode("latin-1")
        + data
        + b"\r\n"
    )


def form(path: str, audio: bytes, file: str) -> bytes:
    model = b"" if path == NATIVE else part("model", b"whisper-1")
    return model + part("file", audio, file=file) + f"--{BOUNDARY}--\r\n".encode()
