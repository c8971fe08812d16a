"""Pushing model folders, against a stand-in that answers the hub's HTTP API as the real client calls it."""

import base64
import hashlib
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused
from harken.models.folder import describe, load_model, save_model
from harken.models.hub import check_repository_name, files_to_push, push_to_hub
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import WordTokenizer

pytest.importorskip("huggingface_hub")
# huggingface_hub's own way of calling its HTTP client when it uploads by LFS.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
TOKEN = "hf_" + "t" * 34
FILES = [
    "README.md",
    "config.json",
    "harken.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "vocab.json",
]


class StandIn:
    """A hub in memory: repositories, branches, commits, and what was asked of it."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        self.branches: dict[tuple[str, str], dict[str, bytes]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.heads: dict[tuple[str, str], str] = {}
        self.messages: list[str] = []
        self.large: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.fail: dict[str, tuple[int, dict[str, str]]] = {}  # by the name of a call: status, headers
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def commit(self, repository: str, branch: str) -> str:
        files = self.branches[repository, branch]
        text = json.dumps([len(self.messages), repository, {k: _sha1(v) for k, v in sorted(files.items())}])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.heads[repository, branch] = sha
        return sha

    def answer(self, method: str, path: str, body: bytes) -> tuple[str, int, dict[str, str], bytes]:
        """(name of the call, status, headers, body)"""
        matches = ((name, re.fullmatch(pattern, f"{method} {path}")) for pattern, name in _CALLS)
        name, found = next((pair for pair in matches if pair[1]), ("", None))
        if found is None:
            return f"{method} {path}", 404, {}, b"{}"
        if name in self.fail:
            status, headers = self.fail[name]
            return name, status, headers, b'{"error": "because"}'
        status, headers, content = getattr(self, "_" + name)(body, **found.groupdict())
        return name, status, headers, content if isinstance(content, bytes) else json.dumps(content).encode()

    def _create(self, body: bytes) -> Any:
        asked = json.loads(body)
        repository = f"{asked.get('organization') or 'me'}/{asked['name']}"
        answer = {"url": f"{self.url}/{repository}"}
        if repository in self.repositories:
            return 409, {}, answer | {"error": "You already created this model repo"}
        self.repositories[repository] = asked
        self.branches[repository, "main"] = {}
        self.commit(repository, "main")
        return 200, {}, answer

    def _validate(self, body: bytes) -> Any:
        if "pipeline_tag: nonsense" in json.loads(body)["content"]:
            return 400, {}, {"errors": [{"message": "pipeline_tag is unknown"}], "warnings": []}
        return 200, {}, {"errors": [], "warnings": []}

    def _branch(self, _: bytes, repo: str, name: str) -> Any:
        if (repo, name) in self.branches:
            return 409, {}, {"error": "exists"}
        self.branches[repo, name] = dict(self.branches[repo, "main"])
        self.commit(repo, name)
        return 200, {}, {}

    def _preupload(self, body: bytes, repo: str, revision: str) -> Any:
        there, files = self.branches[repo, revision], []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(".safetensors")
            old = there.get(file["path"])
            oid = None if old is None else hashlib.sha256(old).hexdigest() if large else _sha1(old)
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {}, {"files": files}

    def _batch(self, body: bytes, repo: str) -> Any:
        asked = json.loads(body)
        assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
        objects = []
        for item in asked["objects"]:
            upload = (
                {} if item["oid"] in self.large else {"actions": {"upload": {"href": f"{self.url}/s3/{item['oid']}"}}}
            )
            objects.append(item | upload)
        return 200, {}, {"transfer": "basic", "objects": objects}

    def _upload(self, body: bytes, oid: str) -> Any:
        assert hashlib.sha256(body).hexdigest() == oid
        self.large[oid] = body
        return 200, {}, b""

    def _commit(self, body: bytes, repo: str, revision: str) -> Any:
        header, *operations = [json.loads(line) for line in body.splitlines()]
        self.messages.append(header["value"]["summary"])
        files = self.branches[repo, revision]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.large[value["oid"]]
        sha = self.commit(repo, revision)
        return 200, {}, {"commitUrl": f"{self.url}/{repo}/commit/{sha}", "commitOid": sha}

    def _info(self, _: bytes, repo: str, revision: str | None = None) -> Any:
        return 200, {}, {"id": repo, "sha": self.heads[repo, revision or "main"], "siblings": [], "tags": []}

    def _tree(self, _: bytes, repo: str, revision: str) -> Any:
        rows = []
        for path, content in self.commits[revision].items():
            row = {"type": "file", "path": path, "size": len(content), "oid": _sha1(content)}
            if path.endswith(".safetensors"):
                row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            rows.append(row)
        return 200, {}, rows

    def _resolve(self, _: bytes, repo: str, revision: str, path: str) -> Any:
        content = self.commits[revision][path]
        large = path.endswith(".safetensors")
        etag = hashlib.sha256(content).hexdigest() if large else _sha1(content)
        return 200, {"X-Repo-Commit": revision, "ETag": f'"{etag}"'}, content


_REPO = r"(?P<repo>[\w-]+/[\w.-]+)"
_CALLS = [
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"POST /api/models/{_REPO}/branch/(?P<name>[\w-]+)", "branch"),
    (rf"POST /api/models/{_REPO}/preupload/(?P<revision>[\w-]+)", "preupload"),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /s3/(?P<oid>\w+)", "upload"),
    (rf"POST /api/models/{_REPO}/commit/(?P<revision>[\w-]+)", "commit"),
    (rf"GET /api/models/{_REPO}/tree/(?P<revision>\w+)", "tree"),
    (rf"GET /api/models/{_REPO}(/revision/(?P<revision>[\w-]+))?", "info"),
    (rf"(HEAD|GET) /{_REPO}/resolve/(?P<revision>\w+)/(?P<path>.+)", "resolve"),
]


def _sha1(content: bytes) -> str:
    """As git names a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler(hub: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self) -> None:
            body, path = self._body(), self.path.partition("?")[0]
            name, status, headers, content = hub.answer(self.command, path, body)
            if not path.startswith("/s3/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, headers, content = (
                    401,
                    {"X-Error-Message": "Invalid credentials in Authorization header"},
                    b"{}",
                )
            hub.calls.append(name)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    from huggingface_hub import close_session, constants

    # Xet's own protocol is binary and closed; with it off the client speaks Git LFS, as it does to hubs without Xet.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    standing = StandIn()
    yield standing
    close_session()
    standing.server.shutdown()
    standing.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    settings, features = RecurrentSettings(width=16, layers=1), FeatureConfig(kind="nemo", dimensions=20)
    tokenizer = WordTokenizer(["<pad>", "one", "two"])
    model = RecurrentCtc(settings, features.dimensions, tokenizer.vocab_size)
    description = describe(
        model,
        family="recurrent-ctc",
        settings=settings,
        features=features,
        tokenizer=tokenizer,
        normalizer="basic",
        languages=["uz"],
        metrics={"test": {"wer": {"value": 0.125, "low": 0.1, "high": 0.15}, "words": 800}},
        provenance={"run": "digits-1"},
    )
    save_model(tmp_path / "digits-1/model", model=model, description=description, tokenizer=tokenizer)
    return tmp_path / "digits-1/model"


def push(hub: StandIn, folder: Path, repo_id: str = "team/digits", **options: Any) -> Any:
    return push_to_hub(folder, repo_id, **{"token": TOKEN, "endpoint": hub.url, **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# A push and the way back


def test_what_is_pushed_loads_back_with_equal_weights(hub: StandIn, folder: Path, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    told: list[Any] = []
    pushed = push(hub, folder, on_start=told.append)
    assert [path for path, _ in pushed.files] == FILES
    assert told == [pushed.files]
    assert pushed.size_bytes == sum(len(content) for content in contents(folder).values())
    assert (pushed.repo_id, pushed.url) == ("team/digits", f"{hub.url}/team/digits")
    assert pushed.commit == hub.heads["team/digits", "main"]
    assert hub.branches["team/digits", "main"] == contents(folder)
    assert hub.messages == ["Push digits-1"]
    assert hub.calls == ["create", "validate", "preupload", "batch", "upload", "commit"]
    assert list(hub.large.values()) == [(folder / "model.safetensors").read_bytes()]  # and nothing else by LFS

    back = snapshot_download(
        "team/digits", endpoint=hub.url, token=TOKEN, local_dir=tmp_path / "back", cache_dir=tmp_path / "cache"
    )
    before, after = load_model(folder), load_model(back)
    assert after.description == before.description
    weights = before.model.state_dict()
    assert sorted(weights) == sorted(after.model.state_dict())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in after.model.state_dict().items())
    assert after.tokenizer.encode("two one") == before.tokenizer.encode("two one")


def test_a_second_push_sends_what_changed(hub: StandIn, folder: Path) -> None:
    first = push(hub, folder)
    again = push(hub, folder)
    assert (again.commit, len(hub.messages)) == (first.commit, 1)  # nothing to send, no empty commit
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\nMore.\n")
    hub.calls.clear()
    third = push(hub, folder, message="Say more")
    assert third.commit != first.commit
    assert (hub.messages[-1], "upload" in hub.calls) == ("Say more", False)
    assert hub.branches["team/digits", "main"]["README.md"].endswith(b"More.\n")


def test_private_own_name_and_branch(hub: StandIn, folder: Path) -> None:
    pushed = push(hub, folder, "digits", private=True, revision="try-2")
    assert pushed.repo_id == "me/digits"
    assert hub.repositories["me/digits"]["visibility"] == "private"
    assert hub.branches["me/digits", "main"] == {}
    assert hub.branches["me/digits", "try-2"] == contents(folder)
    assert push(hub, folder, "digits", revision="try-2").commit == pushed.commit


def test_files_of_the_machine_stay_here(hub: StandIn, folder: Path) -> None:
    (folder / ".env").write_text("SECRET=1")
    (folder / ".cache").mkdir()
    (folder / ".cache/x.json").write_text("{}")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"\x08")
    assert [path for path, _ in push(hub, folder).files] == sorted([*FILES, "onnx/model.onnx"])
    assert ".env" not in hub.branches["team/digits", "main"]


# What a hub may answer


@pytest.mark.parametrize(
    ("call", "status", "error", "message"),
    [
        ("create", 403, ServiceRefused, "may not write to team/digits (403: because)"),
        ("create", 401, ServiceRefused, "does not accept the token (401)"),
        ("preupload", 403, ServiceRefused, "may not write to team/digits"),
        ("commit", 409, ServiceRefused, "changed by somebody else at the same time (409: because). Push again."),
        ("commit", 412, ServiceRefused, "changed by somebody else at the same time (412"),
        ("commit", 404, MissingPart, "has no team/digits (404"),
        ("batch", 403, ServiceRefused, "may not write to team/digits"),
        ("upload", 403, ServiceRefused, "may not write to team/digits"),
        ("commit", 413, ServiceRefused, "refuses for now (413: because)"),
        ("commit", 501, RunFailed, "failed with 501: because"),
    ],
)
def test_refusals(hub: StandIn, folder: Path, call: str, status: int, error: type[HarkenError], message: str) -> None:
    hub.fail[call] = (status, {})
    if call == "create":
        hub.fail["info"] = (status, {})
    with pytest.raises(error, match=re.escape(message)) as caught:
        push(hub, folder)
    assert TOKEN not in str(caught.value)


def test_a_wrong_token(hub: StandIn, folder: Path) -> None:
    with pytest.raises(ServiceRefused, match=r"does not accept the token \(401\). Set HF_TOKEN") as caught:
        push(hub, folder, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    assert hub.branches == {} or hub.branches["team/digits", "main"] == {}


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_asks_nothing(hub: StandIn, folder: Path, token: str | None) -> None:
    with pytest.raises(MissingPart, match=r"needs an access token.*HF_TOKEN"):
        push(hub, folder, token=token)
    assert hub.calls == []


def test_a_card_the_hub_does_not_take(hub: StandIn, folder: Path) -> None:
    (folder / "README.md").write_text("---\npipeline_tag: nonsense\n---\n")
    with pytest.raises(RunFailed, match="pipeline_tag is unknown"):
        push(hub, folder)
    assert hub.messages == []


def test_nobody_answers(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused at once
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunFailed, match=rf"{address} does not answer \(ConnectError"):
            push_to_hub(folder, "team/digits", token=TOKEN, endpoint=address)


def test_a_name_that_is_none(hub: StandIn, folder: Path) -> None:
    with pytest.raises(InputError, match="'team/di gits' is no name for a repository"):
        push(hub, folder, "team/di gits")
    for name in ("", "/", "a/b/c", "digits/", "team/döner", "team/digits\n"):
        with pytest.raises(InputError, match=r"is no name for a repository\. Write NAME or OWNER/NAME"):
            check_repository_name(name)
    for name in ("digits", "team/digits", "Team_1/uz-ru.v2"):
        check_repository_name(name)
    assert hub.calls == []


def test_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPart, match=r"huggingface_hub.*pip install"):
        push_to_hub(folder, "team/digits", token=TOKEN)


# What is looked at before


def test_a_sound_folder_passes(folder: Path) -> None:
    assert [path for path, _ in files_to_push(folder)] == FILES
    (folder / "README.md").write_text(
        "---\n---\nhttps://example.org/data/x, path/to/home/x, ./data/train.jsonl, ../tmp/x, and/or, 1/2, "
        "</s>, s3://data/x, (?i:\\s)\n"
    )
    (folder / "vocab.json").write_text('{"/home/": 1}')  # a token, not a place
    assert len(files_to_push(folder)) == len(FILES)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("README.md", "---\n---\nTrained on /home/anna/data/train.jsonl.", "/home/anna/data/train.jsonl"),
        ("README.md", "---\n---\n`/mnt/disk`", "/mnt/disk"),
        ("notes.txt", "train:/home/anna/x", "/home/anna/x"),
        ("notes.txt", "from file:///data/x.wav", "file:///data/x.wav"),
        ("settings.json", '{"a": [{"train": "C:\\\\Users\\\\anna\\\\x"}]}', r"C:\Users\anna\x"),
        ("settings.json", '{"/work/x": 1}', "/work/x"),
        ("settings.json", '{"a": "\\u002ftmp\\u002fx"}', "/tmp/x"),
    ],
)
def test_paths_of_this_machine_are_refused(folder: Path, name: str, text: str, found: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(f"{name} holds the path {found}")):
        files_to_push(folder)


def test_the_name_of_this_machine_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-7.lab")
    (folder / "notes.txt").write_text("trained on gpu-7.labs and xgpu-7.lab")
    assert len(files_to_push(folder)) == len(FILES) + 1
    (folder / "notes.txt").write_text("trained on gpu-7.lab, at night")
    with pytest.raises(InputError, match=r"notes.txt holds the name of this machine \(gpu-7.lab\)"):
        files_to_push(folder)


def _cut(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_cut, InputError, "model.safetensors is not what harken.json was written for"),
        (lambda f: (f / "model.safetensors").unlink(), MissingPart, "model.safetensors does not exist"),
        (lambda f: (f / "README.md").unlink(), MissingPart, "has no model card (README.md)"),
        (lambda f: (f / "README.md").write_text("# Digits"), InputError, "README.md has no front matter"),
        (lambda f: (f / "config.json").write_text("{"), InputError, "config.json is not valid JSON"),
        (lambda f: (f / "harken.json").unlink(), MissingPart, "is not a model folder"),
        (shutil.rmtree, MissingPart, "is not a model folder"),
    ],
)
def test_what_is_not_fit_to_be_seen_is_not_pushed(
    hub: StandIn, folder: Path, damage: Callable[[Path], Any], error: type[HarkenError], message: str
) -> None:
    damage(folder)
    with pytest.raises(error, match=re.escape(message)):
        push(hub, folder)
    assert hub.calls == []


def test_the_command(hub: StandIn, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from harken.cli.models import app

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    arguments = ["push", str(folder), "team/digits", "--endpoint", hub.url, "--private"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.stderr
    assert answer.stdout == f"{hub.url}/team/digits\n"
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name in FILES)
    assert answer.stderr.startswith(f"pushing 7 files, {size / 1024:.1f} KiB\n")
    assert hub.repositories["team/digits"]["visibility"] == "private"
    data = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert data["commit"] == hub.heads["team/digits", "main"]
    assert [file["path"] for file in data["files"]] == FILES
