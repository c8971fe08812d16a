"""The requests of the API: how each is built and its answer read, for the client that waits and the one that awaits."""

import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx

from harken.client.address import CONNECT_S, ServerAddress
from harken.client.errors import ConnectionLost, ServerError, ServerUnreachable, UnexpectedAnswer, answer_error
from harken.client.json_body import JsonBody
from harken.client.results import (
    Health,
    Job,
    JobAnswer,
    JobResult,
    ModelFacts,
    Readiness,
    ResultPage,
    ServedModel,
    TranscriptionResult,
    read,
)
from harken.client.retries import retry_wait_s
from harken.client.uploads import Audio, Form, upload_of
from harken.core import InputError

T = TypeVar("T")
RESULTS_PAGE = 100


class TranscribeOptions(TypedDict, total=False):
    """How files are to be heard; None and what is absent leave it to the server. `language_hint` is a BCP-47 tag,
    `temperature` 0 to 1.
    """

    model: str | None
    language_hint: str | None
    word_times: bool
    hotwords: Sequence[str]
    prompt: str | None
    temperature: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request. `parse` turns the data of an answer with one of the statuses `good` into the result."""

    method: str
    path: str
    parse: Callable[[Any], T]
    form: Form | JsonBody | None = None
    idempotency_key: str | None = None
    good: tuple[int, ...] = (200,)

    @property
    def harmless_twice(self) -> bool:
        """Whether the server ends in the same state when it gets this once more."""
        return self.method in ("GET", "DELETE") or self.idempotency_key is not None

    @property
    def repeatable(self) -> bool:
        return self.form is None or self.form.repeatable

    @property
    def headers(self) -> dict[str, str]:
        key = {"Idempotency-Key": self.idempotency_key} if self.idempotency_key is not None else {}
        return {"Accept": "application/json"} | key | (self.form.headers if self.form is not None else {})

    def result(self, response: httpx.Response, server: ServerAddress) -> T:
        """What was asked for. Raises the error the answer stands for."""
        text = server.without_key(response.text)
        if response.status_code not in self.good:
            headers = {name.lower(): server.without_key(value) for name, value in response.headers.items()}
            raise answer_error(response.status_code, headers, text.encode())
        try:
            data = json.loads(text)
        except ValueError as err:
            raise UnexpectedAnswer(
                f"{server.at(self.path)} did not answer with JSON.",
                hint="Check that the address is that of a Harken server.",
                status=response.status_code,
            ) from err
        return self.parse(data)


def pause_s(error: ServerError, attempt: int, server: ServerAddress, call: Call[Any] | None) -> float | None:
    """Seconds until what failed is tried once more, None where it is not: see `retry_wait_s`. No call: a stream."""
    if call is not None and not call.repeatable:
        return None
    harmless = call is not None and call.harmless_twice
    return retry_wait_s(error, attempt=attempt, retries=server.retries, harmless_twice=harmless)


def check_patience(job_id: str, waited_s: float, timeout_s: float | None) -> None:
    """Raises ConnectionLost once a job was waited for as long as that."""
    if timeout_s is not None and waited_s >= timeout_s:
        raise ConnectionLost(f"Job {job_id} has not ended within {timeout_s:g} s.", hint="Wait for it again.")


def timeouts(server: ServerAddress) -> httpx.Timeout:
    return httpx.Timeout(server.timeout_s, connect=min(CONNECT_S, server.timeout_s))


def transport_error(error: httpx.TransportError, server: ServerAddress) -> ServerError:
    """The error that a failed connection stands for."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return ServerUnreachable(
            f"No server answers at {server.url} ({_reason(error)}).", hint="Check the address, and that it runs."
        )
    if isinstance(error, httpx.TimeoutException):
        return ConnectionLost(
            f"{server.url} did not answer within {server.timeout_s:g} s.", hint="Allow more with timeout_s."
        )
    return ConnectionLost(f"The connection to {server.url} broke ({_reason(error)}).", hint="Try again.")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def transcribe_call(audio: Audio, **options: Unpack[TranscribeOptions]) -> Call[TranscriptionResult]:
    form = Form([*_option_fields(**options), ("format", "json")], [("file", upload_of(audio))])
    return Call(method="POST", path="/transcribe", form=form, parse=_reader(TranscriptionResult))


def _option_fields(
    *,
    model: str | None = None,
    language_hint: str | None = None,
    word_times: bool = False,
    hotwords: Sequence[str] = (),
    prompt: str | None = None,
    temperature: float | None = None,
) -> list[tuple[str, str]]:
    """The fields of the options that were given. Raises InputError for what no server takes."""
    given = {
        "model": model,
        "language_hint": language_hint,
        "word_times": "true" if word_times else None,
        "hotwords": _hotwords(hotwords),
        "prompt": prompt,
        "temperature": _temperature(temperature),
    }
    return [(name, value) for name, value in given.items() if value is not None]


def _hotwords(hotwords: Sequence[str]) -> str | None:
    """A phrase a line. The server takes commas for the ends of phrases too."""
    if isinstance(hotwords, str):
        raise InputError(f"hotwords is the text {hotwords!r}.", hint="Give a list of words and phrases.")
    cut = next((word for word in hotwords if any(letter in word for letter in ",\r\n") or not word.strip()), None)
    if cut is not None:
        raise InputError(f"hotwords holds {cut!r}.", hint="Use phrases without commas and line breaks, none empty.")
    return "\n".join(hotwords) or None


def _temperature(value: float | None) -> str | None:
    if value is None:
        return None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise InputError(f"temperature is {value}.", hint="Use a number from 0 to 1.")
    return repr(float(value))


def models_call() -> Call[tuple[ServedModel, ...]]:
    def parse(data: Any) -> tuple[ServedModel, ...]:
        listed = data.get("data") if isinstance(data, dict) else None
        if not isinstance(listed, list):
            raise UnexpectedAnswer("The server's answer is no list of models.", hint="Check the address.")
        return tuple(read(ServedModel, _renamed(item, created="created_s")) for item in listed)

    return Call(method="GET", path="/v1/models", parse=parse)


def swap_call(name: str, path: str) -> Call[ModelFacts]:
    return Call(
        method="PUT",
        path=f"/models/{quote(name, safe='')}",
        form=JsonBody({"path": path}),
        parse=_reader(ModelFacts),
    )


def health_call() -> Call[Health]:
    return Call(method="GET", path="/health", parse=_reader(Health))


def ready_call() -> Call[Readiness]:
    """A server that is not ready says so with 503, which is an answer here."""
    return Call(method="GET", path="/ready", parse=_reader(Readiness), good=(200, 503))


def stats_call() -> Call[Mapping[str, Any]]:
    return Call(method="GET", path="/stats", parse=_mapping)


def submit_call(audio: Sequence[Audio], webhook: str | None = None, **options: Unpack[TranscribeOptions]) -> Call[Job]:
    """A job, even of few files. Its key makes it one job, however often the request has to be sent."""
    if not audio:
        raise InputError("There are no files to submit.", hint="Give one or more.")
    told = [("webhook", webhook)] if webhook is not None else []
    form = Form([*_option_fields(**options), *told, ("mode", "job")], [("files", upload_of(item)) for item in audio])
    key = secrets.token_hex(16)
    return Call(method="POST", path="/transcribe/batch", form=form, idempotency_key=key, parse=_job, good=(202,))


def job_call(id_: str) -> Call[Job]:
    return Call(method="GET", path=_job_path(id_), parse=_job)


def cancel_call(id_: str) -> Call[Job]:
    return Call(method="DELETE", path=_job_path(id_), parse=_job)


def results_call(id_: str, offset: int) -> Call[tuple[JobResult, ...]]:
    """A page of `RESULTS_PAGE` files from `offset`; a shorter one is the last."""
    path = f"{_job_path(id_)}/results?offset={offset}&limit={RESULTS_PAGE}"
    return Call(method="GET", path=path, parse=lambda data: read(ResultPage, data).results)


def _job(data: Any) -> Job:
    return read(JobAnswer, data).job


def _job_path(id_: str) -> str:
    return f"/jobs/{quote(id_, safe='')}"


def _reader(kind: type[T]) -> Callable[[Any], T]:
    return lambda data: read(kind, data)


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise UnexpectedAnswer("The server's answer is no JSON object.", hint="Check the address.")
    return data


def _renamed(item: Any, **names: str) -> Any:
    return {names.get(key, key): value for key, value in item.items()} if isinstance(item, dict) else item
