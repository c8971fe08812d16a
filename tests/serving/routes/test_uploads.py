"""Uploads on disk: named by nobody but us, and gone with their request."""

import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from tests.serving.route_server import Stand

from harken.http.forms import FormFile
from harken.serving.routes.fields import BadParameter, Fields
from harken.serving.routes.uploads import ReceivedForm

NAMES = ["../../etc/passwd", "/etc/passwd", "a\r\nSet-Cookie: x=1", "a\0b.wav", "x" * 10_000, "..", "", "é\u202e.wav"]


@pytest.mark.parametrize("name", NAMES)
def test_the_clients_name_goes_nowhere(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    stand = Stand(spool=spool)
    quoted = name.replace("\\", "\\\\").replace('"', "%22")
    body = b"".join(
        [
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="',
            quoted.encode(),
            b'"\r\n\r\nsound\r\n--b--\r\n',
        ]
    )
    with caplog.at_level(logging.DEBUG), stand.running() as url:
        answer = httpx.post(
            f"{url}/transcribe", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
    # A line break ends a header: what follows is another one of the part. The parser bounds the length of a header.
    assert answer.status_code == (400 if len(name) > 1000 else 200), answer.text
    if answer.status_code == 200:
        [path] = stand.service.paths
        assert path.parent == spool
        assert re.fullmatch(r"[0-9a-f]{32}", path.name)
    assert sorted(tmp_path.rglob("*")) == [spool]
    for record in caplog.records:
        assert not name or len(name) < 3 or name not in record.getMessage()
    assert "set-cookie" not in answer.headers
    assert len(name) < 5 or name not in answer.text


def test_several_files(tmp_path: Path) -> None:
    uploads = [FormFile(filename=name, path=tmp_path / str(size), size=size) for name, size in (("x", 1), ("", 2))]
    form = ReceivedForm(fields=Fields({}), files={"files": uploads[:1], "files[]": uploads[1:]})
    form.only((), "files", most=2)
    assert (form.count("files"), form.size("files"), form.named("files")) == (2, 3, uploads)
    assert form.path("files") == tmp_path / "1"
    with pytest.raises(BadParameter, match="given 2 times"):
        form.only((), "files")


def test_ten_thousand_parts_are_refused(tmp_path: Path) -> None:
    stand = Stand(spool=tmp_path)
    part = b'--b\r\nContent-Disposition: form-data; name="hotwords"\r\n\r\na\r\n'
    with stand.running() as url:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            content=part * 10_000 + b"--b--\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == 400
    assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}
    assert stand.service.paths == []
