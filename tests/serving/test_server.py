"""`harken serve` as a process: where it listens, what it refuses, how it ends, what it does not load."""

import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.serving.server_processes import Processes, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harken.core import InputError, MissingPart
from harken.http.keys import DatabaseKeys
from harken.serving.server import serve
from harken.serving.settings import ServeSettings, read_settings
from harken.storage.database import Database


@pytest.fixture
def settings(onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServeSettings:
    monkeypatch.setenv("HARKEN_HOME", str(tmp_path))
    return read_settings(None, environment={}, given=given(onnx_model))


def given(model: Path, **more: object) -> dict[str, object]:
    return {"models": {"models": [{"path": str(model), "engine": "onnx"}]}, "port": 0, **more}


def certificate(folder: Path, *, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harken test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_in_order(onnx_model: Path, processes: Processes, number: signal.Signals) -> None:
    process, url, log = processes.serve(onnx_model)
    assert "(this machine only)" in log.read_text()
    assert httpx.get(f"{url}/health").status_code == 200
    process.send_signal(number)
    assert process.wait(20) == 0
    assert list((processes.home / "spool").iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_an_open_server_answers_to_its_own_names_only(onnx_model: Path, processes: Processes) -> None:
    processes.set(log_format="json", auth__mode="auto")
    _, url, log = processes.serve(onnx_model)
    host = url.removeprefix("http://")
    port = host.rpartition(":")[2]
    assert httpx.get(f"{url}/health", headers={"Host": f"localhost:{port}"}).status_code == 200
    for path, shape in (("/stats", "code"), ("/v1/models", "type")):
        refused = httpx.get(f"{url}{path}", headers={"Host": f"rebound.example.com:{port}"})
        assert refused.status_code == 421
        assert shape in refused.json()["error"]
    with pytest.raises(InvalidStatus) as caught, _socket_to(host, "rebound.example.com"):
        pass
    assert caught.value.response.status_code == 421
    with _socket_to(host, host):
        pass
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line for line in lines if line["level"] == "error" or "color_message" in line] == []
    assert "wrong_host" not in {line["event"] for line in lines}


def _socket_to(host: str, name: str):  # type: ignore[no-untyped-def]
    """A WebSocket whose Host header says `name`."""
    address, _, port = host.rpartition(":")
    plain = socket.create_connection((address, int(port)), timeout=10)
    return connect(f"ws://{name}/ws/transcribe", sock=plain, proxy=None)


def test_with_a_key_or_without_loopback_names_are_free_unless_listed(onnx_model: Path, processes: Processes) -> None:
    database = Database.open(f"sqlite:///{processes.home}/harken.db")
    _, key = DatabaseKeys(database).create("x", scopes=("transcribe",), now_s=0.0)
    database.close()
    process, url, _ = processes.serve(onnx_model, "--host", "0.0.0.0")  # a key lets it leave loopback
    port = url.rpartition(":")[2]
    mine = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{mine}/health", headers={"Host": "asr.example.com"}).status_code == 200
    assert httpx.get(f"{mine}/v1/models").status_code == 401
    assert httpx.get(f"{mine}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    process.terminate()
    assert process.wait(20) == 0
    processes.set(hosts="[asr.example.com]")
    _, url, _ = processes.serve(onnx_model)
    names = {"asr.example.com": 200, "localhost": 200, "other.example.com": 421}
    assert {name: httpx.get(f"{url}/health", headers={"Host": name}).status_code for name in names} == names


def test_an_open_server_does_not_leave_loopback(settings: ServeSettings, onnx_model: Path) -> None:
    strangers = read_settings(None, environment={}, given=given(onnx_model, host="0.0.0.0"))
    with pytest.raises(InputError, match=r"host is 0\.0\.0\.0.*no key protects.*--allow-anybody"):
        serve(strangers)


def test_it_does_where_anybody_may_come(onnx_model: Path, processes: Processes) -> None:
    _, url, log = processes.serve(onnx_model, "--host", "0.0.0.0", "--allow-anybody")
    assert "this machine only" not in log.read_text()
    port = url.rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 200


def test_an_address_in_use_is_named_before_a_model_is_loaded(onnx_model: Path, settings: ServeSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        used = read_settings(None, environment={}, given=given(Path("/no/such/model"), port=port))
        with pytest.raises(MissingPart, match=rf"127\.0\.0\.1:{port} cannot be listened on: Address already in use"):
            serve(used)
    with pytest.raises(MissingPart, match=r"no\.such\.host\.invalid:0 cannot be listened on"):
        serve(read_settings(None, environment={}, given=given(onnx_model, host="no.such.host.invalid")))


@pytest.mark.parametrize("what", ["absent", "no_pem", "other_key", "no_password", "wrong_password"])
def test_tls_files_that_cannot_be_used_are_said_so(
    settings: ServeSettings, onnx_model: Path, tmp_path: Path, what: str
) -> None:
    cert, key = certificate(tmp_path, password=b"open sesame" if "password" in what else None)
    tls = {"certificate": str(cert), "key": str(key)}
    if what == "absent":
        tls["key"] = str(tmp_path / "absent.pem")
    elif what == "no_pem":
        cert.write_text("nonsense")
    elif what == "other_key":
        (tmp_path / "other").mkdir()
        tls["key"] = str(certificate(tmp_path / "other")[1])
    elif what == "wrong_password":
        tls["key_password"] = "wrong"
    else:
        tls["key_password"] = ""
    with pytest.raises(InputError, match=r"^tls: "):
        serve(read_settings(None, environment={}, given=given(onnx_model, tls=tls)))


def test_with_tls_files_it_speaks_https_and_wss(onnx_model: Path, processes: Processes, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, password=b"open sesame")
    processes.set(tls__certificate=cert, tls__key=key, tls__key_password="open sesame")
    process, url, _ = processes.serve(onnx_model)
    assert url.startswith("https://127.0.0.1:")
    trust = ssl.create_default_context(cafile=str(cert))
    answer = httpx.get(f"{url}/health", verify=trust)
    assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
    with connect(url.replace("https", "wss") + "/ws/transcribe", ssl=trust, proxy=None) as opened:
        opened.send("{}")
        assert json.loads(opened.recv(10))["type"] == "error"
    process.terminate()
    assert process.wait(20) == 0


def test_an_exported_model_is_served_without_torch(onnx_model: Path, recordings: list[Path], tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from harken.serving.app import create_app
from harken.serving.contract import TranscribeOptions
from harken.serving.settings import read_settings
given = {"models": {"models": [{"path": sys.argv[1], "engine": "onnx"}]}}
app = create_app(read_settings(None, environment={}, given=given))
async def main():
    async with app.router.lifespan_context(app):
        found = await app.state.server.transcription.transcribe(Path(sys.argv[2]), TranscribeOptions())
        print(found.transcript.text)
asyncio.run(main())
print(sorted({"torch", "transformers", "torchaudio"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(onnx_model), str(recordings[0])],
        env={**os.environ, "HARKEN_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    text, loaded = done.stdout.splitlines()
    assert text
    assert loaded == "[]"


def test_a_second_signal_ends_it_at_once(onnx_model: Path, processes: Processes) -> None:
    processes.set(drain_s=60)
    process, url, log = processes.serve(onnx_model)
    with connect(url.replace("http", "ws") + "/ws/transcribe", proxy=None) as opened:
        opened.send(json.dumps({"type": "start", "sample_rate": 16_000}))
        assert json.loads(opened.recv(20))["type"] in ("ready", "error")
        process.terminate()
        until(lambda: "stopping" in log.read_text(), log=log)
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("limits", "connections", "expected", "warned"),
    [
        ((256, 4096), 1024, (2304, 4096), False),
        ((4096, 4096), 1024, (4096, 4096), False),
        ((256, 512), 1024, (512, 512), True),
    ],
)
def test_as_many_files_may_be_open_as_connections_need(
    limits: tuple[int, int], connections: int, expected: tuple[int, int], warned: bool
) -> None:
    """In a process of its own, because limits that were lowered stay so."""
    script = f"""
import logging, resource
logging.basicConfig(format="%(message)s")
from harken.serving.server import _allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, {limits})
_allow_files({connections})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(limit) for limit in expected]
    assert ("raise ulimit -n" in done.stderr) == warned
