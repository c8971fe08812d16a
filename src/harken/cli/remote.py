"""`harken transcribe --server`: the same command, the work done by a server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harken.client.errors import ServerError
    from harken.inference.files import FileResult

KEY_VARIABLE = "HARKEN_API_KEY"
_OF_EVERY_FILE = ("unknown_model", "bad_parameter", "unknown_parameter")  # codes of what no other file would change


def check_server_options(server: str | None, api_key_env: str | None, local: Mapping[str, Any]) -> None:
    """Refuse what would do nothing: without a server its key, with one the options in `local` that were given."""
    from harken.core import InputError

    if server is None:
        if api_key_env is not None:
            raise InputError("--api-key-env does nothing without --server.", hint="Name the server.")
        return
    told = next((name for name, value in local.items() if value not in (None, False, "auto")), None)
    if told == "word_times":
        raise InputError(
            "--word-times does nothing with --server.", hint="Words come timed where the model times them."
        )
    if told is not None:
        raise InputError(f"--{told.replace('_', '-')} does nothing with --server.", hint="The server decides it.")


def server_results(
    server: str,
    files: Sequence[str],
    *,
    api_key_env: str | None,
    model: Path | None,
    language: str | None,
    hotwords: str | None,
) -> "Iterator[FileResult]":
    """A result for each file, in order. A file that the server cannot take gives its error; where it is the server
    itself (it is away, busy, lacks the model, or does not know the key), the error is raised.
    """
    from harken.client.sync_client import HarkenClient
    from harken.core import InputError

    remote = next((file for file in files if "://" in file), None)
    if remote is not None:
        raise InputError(f"{remote} is no file of this machine.", hint="With --server, download it first.")
    try:
        client = HarkenClient(server, api_key=key_of(api_key_env))
    except ValueError as err:
        raise InputError(f"--server: {err}.") from err
    phrases = _phrases(Path(hotwords)) if hotwords is not None else ()
    options: dict[str, Any] = {
        "model": None if model is None else str(model),
        "language_hint": language,
        "hotwords": phrases,
    }
    with client:
        yield from _results(client.transcribe_many(files, word_times=True, **options), api_key_env or KEY_VARIABLE)


def _is_of_every_file(error: "ServerError") -> bool:
    """Whether no other file would change it: what the options say, or an address with no such route."""
    return error.code in _OF_EVERY_FILE or error.status == 404


def _results(answers: Iterator[tuple[str, Any]], variable: str) -> "Iterator[FileResult]":
    from harken.client.errors import ServerError
    from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused
    from harken.inference.files import FileResult

    for path, answer in answers:
        if not isinstance(answer, HarkenError):
            yield FileResult(path=path, transcript=answer.transcript)
        elif not isinstance(answer, ServerError):  # of reading the file, which it names
            yield FileResult(path=path, error=answer)
        elif answer.status == 401:
            raise ServiceRefused(answer.message, hint=f"Put a key of the server into the variable {variable}.")
        elif isinstance(answer, ServiceRefused | MissingPart) or _is_of_every_file(answer):
            raise answer
        else:
            family = RunFailed if isinstance(answer, RunFailed) else InputError
            yield FileResult(path=path, error=family(f"{path}: {answer.message}", hint=answer.hint))


def key_of(variable: str | None) -> str | None:
    """The key in an environment variable, which has to be there if it was asked for by name."""
    from harken.core import InputError

    key = os.environ.get(variable or KEY_VARIABLE) or None
    if key is None and variable is not None:
        raise InputError(f"The environment variable {variable} is not set.", hint="Put the server's key there.")
    return key


def _phrases(path: Path) -> tuple[str, ...]:
    """A phrase a line, as for a model of this machine, but without boosts: the server has one for all."""
    from harken.core import InputError, MissingPart

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as err:
        raise MissingPart(f"{path} does not exist.", hint="Check the path of the hotwords.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path} cannot be read as UTF-8 text: {err}.") from err
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if any("\t" in line for line in kept):
        raise InputError(f"{path} has boosts of its own.", hint="With --server, leave the tabs and numbers out.")
    if not kept:
        raise InputError(f"{path} holds no phrases.", hint="Write one a line.")
    return tuple(line.strip() for line in kept)
