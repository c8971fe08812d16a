"""Playlists that name a file and an address, and a watch on the file."""

import ctypes
import os
from pathlib import Path

IN_ACCESS, IN_OPEN = 0x1, 0x20
DASH = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>'
PLAYLISTS = {
    "ffconcat by content": ("a.wav", "ffconcat version 1.0\nfile 'secret.wav'\nfile '{canary}'\nfile '{url}'\n"),
    "ffconcat by name": ("a.ffconcat", "ffconcat version 1.0\nfile '{canary}'\nfile '{url}'\n"),
    "m3u8 by content": ("a.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXTINF:5,\n{canary}\n"),
    "m3u8 by name": ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXTINF:5,\n{canary}\n"),
    "DASH": ("a.mpd", DASH),
    "SDP": ("a.sdp", "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 0\r\n"),
}
"""Each as the name and the text of a file, with places for `canary`, `url` and `port`."""


class Watch:
    """Whether anybody opened one of the files since the last look (inotify)."""

    def __init__(self, paths: list[Path]) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._handle = library.inotify_init1(os.O_NONBLOCK)
        assert self._handle >= 0
        for path in paths:
            assert library.inotify_add_watch(self._handle, os.fsencode(path), IN_OPEN | IN_ACCESS) >= 0

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._handle, 4_096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._handle)
