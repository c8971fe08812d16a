"""Model folders to a model hub: what is looked at before anything leaves the machine, and the push itself."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harken.core import InputError, MissingPart, RunFailed, ServiceRefused
from harken.models.overview import summarize, verified_weights

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

CARD = "README.md"

_TEXT = (".json", ".md", ".txt", ".yaml", ".yml")
_VOCABULARIES = ("vocab.json", "vocab.txt", "tokenizer.json", "merges.txt", "added_tokens.json")
# Folders that people and machines keep things in, after something that is no part of an address (https://host/data/).
_PATH = re.compile(
    r"(?<![\w./~-])(?:file://)?(?:/(?:home|root|Users|tmp|mnt|data|srv|opt|var|work|workspace|media|scratch|Volumes"
    r"|private|content|storage|nfs|lustre|gpfs)/|[A-Z]:\\(?=\w))[^\s\"'`|)]+"
)
_REPOSITORY = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
_SHORTEST_HOST = 4  # a machine called "pi" would be found in every other word


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedModel:
    """What was pushed and where it is now. `files` are (path, bytes), in the order of their paths."""

    repo_id: str
    url: str
    commit: str
    files: list[tuple[str, int]]

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.files)


def check_repository_name(repo_id: str) -> None:
    """Raises InputError for what can be no name of a repository; the hub has further rules, and tells of them."""
    if not _REPOSITORY.fullmatch(repo_id):
        raise InputError(
            f"{repo_id!r} is no name for a repository.",
            hint="Write NAME or OWNER/NAME, of letters, digits, '-', '_' and '.'.",
        )


def files_to_push(folder: Path) -> list[tuple[str, int]]:
    """The files of a model folder with their sizes in bytes, hidden ones left out, after every check passed.

    Raises MissingPart without harken.json, weights or a model card; InputError for weights that are not those of
    harken.json, for a card without front matter, and for text that tells about this machine: an absolute path or its
    name.
    """
    summarize(folder)
    verified_weights(folder)
    card = folder / CARD
    if not card.is_file():
        raise MissingPart(f"{folder} has no model card ({CARD}).", hint="Write one: it is the page people will see.")
    if not card.read_text(encoding="utf-8", errors="replace").startswith("---\n"):
        raise InputError(
            f"{card} has no front matter, by which a hub knows the task and the languages.",
            hint="Begin it with lines between --- marks, such as 'library_name: harken'.",
        )
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.relative_to(folder))]
    for path in paths:
        if path.suffix in _TEXT and path.name not in _VOCABULARIES:
            _check_text(path)
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def push_to_hub(
    folder: Path,
    repo_id: str,
    *,
    token: str | None,
    endpoint: str | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    on_start: Callable[[list[tuple[str, int]]], None] | None = None,
) -> PushedModel:
    """Push a model folder to `repo_id` ("name" or "owner/name") as one commit; the repository is made if it is new.

    `endpoint` None means the public hub (or HF_ENDPOINT). `private` counts for a new repository only. `revision` is a
    branch, made if it is new. `on_start` is told what will be sent. A file that is the same there already is not sent
    again; one that is there and not here stays. Raises as `check_repository_name` and `files_to_push` do; MissingPart
    without a token or huggingface_hub; ServiceRefused when the hub says no; RunFailed when it does not answer or fails.
    """
    check_repository_name(repo_id)
    files = files_to_push(folder)
    if not token:
        raise MissingPart(
            "A push needs an access token.", hint="Make one that may write in the hub's settings, and set HF_TOKEN."
        )
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as err:
        raise MissingPart(
            "A push needs the package huggingface_hub.", hint="Install it with: pip install 'harken[train]'."
        ) from err
    if on_start is not None:
        on_start(files)
    api = HfApi(endpoint=endpoint, token=token, library_name="harken")
    with _explained(repo_id, str(api.endpoint)):
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository.repo_id, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repository.repo_id,
            [CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path, _ in files],
            commit_message=message or f"Push {summarize(folder).name}",
            revision=revision,
        )
    return PushedModel(repo_id=repository.repo_id, url=str(repository), commit=commit.oid, files=files)


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _check_text(path: Path) -> None:
    """A published file must not tell whose machine it was made on."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".json":
        try:
            text = "\n".join(_strings(json.loads(text)))  # without JSON's own backslashes
        except ValueError as err:
            raise InputError(f"{path} is not valid JSON: {err}.", hint="Copy the model folder again.") from err
    found = _PATH.search(text)
    if found:
        raise InputError(
            f"{path} holds the path {found.group()}, which means nothing elsewhere and tells about this machine.",
            hint="Remove it, or write a path relative to the model folder.",
        )
    host = socket.gethostname()
    if len(host) >= _SHORTEST_HOST and host != "localhost" and re.search(rf"(?<!\w){re.escape(host)}(?!\w)", text):
        raise InputError(f"{path} holds the name of this machine ({host}).", hint="Remove it before the push.")


def _strings(value: object) -> Iterator[str]:
    """Every string in parsed JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@contextmanager
def _explained(repo_id: str, endpoint: str) -> Iterator[None]:
    """The client's errors as Harken's."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as err:
        raise _refusal(err, repo_id, endpoint) from err
    except HFValidationError as err:
        raise InputError(f"{repo_id!r} is no name for a repository: {err}", hint="Write owner/name.") from err
    except OfflineModeIsEnabled as err:
        raise RunFailed("HF_HUB_OFFLINE forbids talking to a hub.", hint="Unset it to push.") from err
    except HTTPError as err:
        raise RunFailed(
            f"{endpoint} does not answer ({type(err).__name__}: {err}).",
            hint="Check the network, a proxy (HTTPS_PROXY) and --endpoint, then push again.",
        ) from err
    except (RuntimeError, ValueError) as err:  # an upload that broke off; front matter or an answer it does not take
        cause = err.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise _refusal(cause, repo_id, endpoint) from err
        why = "" if cause is None else f" ({type(cause).__name__}: {cause})"
        raise RunFailed(f"{endpoint} did not take the push: {err}{why}", hint="Mend that, then push again.") from err


def _refusal(err: "HfHubHTTPError", repo_id: str, endpoint: str) -> Exception:
    status = err.response.status_code
    said = err.server_message or str(err).partition("\n")[0]
    if status == 401:
        return ServiceRefused(
            f"{endpoint} does not accept the token (401).", hint="Set HF_TOKEN to a valid one; they expire."
        )
    if status == 403:
        return ServiceRefused(
            f"The token may not write to {repo_id} (403: {said}).",
            hint="Use a token with write access and an owner you belong to.",
        )
    if status == 404:
        return MissingPart(f"{endpoint} has no {repo_id} (404: {said}).", hint="Check the owner's name and --endpoint.")
    if status in (409, 412):
        return ServiceRefused(
            f"{repo_id} was changed by somebody else at the same time ({status}: {said}).", hint="Push again."
        )
    if status in (413, 429):
        return ServiceRefused(f"{endpoint} refuses for now ({status}: {said}).", hint="Wait, then push again.")
    return RunFailed(f"{endpoint} failed with {status}: {said}", hint="Push again later; what arrived is not resent.")
