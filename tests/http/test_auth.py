"""Who gets in, and who does not, over HTTP and WebSockets alike."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient, WebSocketDenialResponse
from tests.http.test_tokens import GOOD, KEYS, SECRET, sign

from harken.http.addresses import ProxySettings
from harken.http.auth import AuthSettings, Principal, policy_of, public, require_policies, requires
from harken.http.errors import Unavailable
from harken.http.limits import LimitSettings
from harken.http.tokens import JwtSettings

Build = Callable[..., Any]
REQUIRED = AuthSettings(mode="required")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def _socket(client: TestClient, headers: dict[str, str]) -> Iterator[None]:
    """A WebSocket that ends by itself if it was accepted."""
    with client.websocket_connect("/socket", headers=headers) as socket:
        socket.send_text("bye")
        yield


def status(client: TestClient, key: str | None, path: str = "/who") -> int:
    return client.get(path, headers=bearer(key) if key else {}).status_code


def test_without_keys_everybody_is_let_in_until_there_is_one(build: Build) -> None:
    service = build()
    with TestClient(service.app) as client:
        assert service.authenticator.is_open()
        assert client.get("/who").json() == {"id": "anonymous@testclient", "kind": "anonymous", "name": "anonymous"}
        key = service.keys.add()
        service.clock.now_s += 6
        assert status(client, None) == 401
        assert not service.authenticator.is_open()
        assert status(client, key) == 200
        service.keys.records.clear()  # also of a restored backup, nothing opens again
        service.clock.now_s += 60
        assert status(client, None) == 401


def test_required_is_closed_from_the_start(build: Build) -> None:
    service = build(auth=REQUIRED)
    with TestClient(service.app) as client:
        assert not service.authenticator.is_open()
        assert status(client, None) == 401


def test_off_lets_in_whoever_comes_with_whatever(build: Build) -> None:
    service = build(auth=AuthSettings(mode="off"))
    service.keys.add()
    service.keys.down = True
    with TestClient(service.app) as client:
        assert service.authenticator.is_open()
        assert [status(client, key) for key in (None, "nonsense")] == [200, 200]


def test_no_key_and_a_wrong_key_are_told_apart_by_the_challenge(build: Build) -> None:
    with TestClient(build(auth=REQUIRED).app) as client:
        none, wrong = client.get("/who"), client.get("/who", headers=bearer("nonsense"))
    assert (none.status_code, wrong.status_code) == (401, 401)
    assert none.headers["www-authenticate"] == "Bearer"
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert wrong.json()["error"]["code"] == "not_authenticated"


def test_a_key_must_be_whole_valid_and_allowed(build: Build) -> None:
    service = build(auth=REQUIRED)
    good, other = service.keys.add(("transcribe",)), service.keys.add(("stream",))
    expired, revoked = service.keys.add(expires_s=service.clock.now_s), service.keys.add(revoked_s=1.0)
    with TestClient(service.app) as client:
        assert client.get("/who", headers=bearer(good)).json()["id"] == f"key:{good.split('_')[1]}"
        assert client.get("/who", headers={"Authorization": f"Token {good}"}).status_code == 200
        assert client.get("/who", headers={"X-API-Key": good}).status_code == 200
        assert [status(client, key) for key in (expired, revoked, good[:-1], good + "x")] == [401] * 4
        mixed = f"hk_{good.split('_')[1]}_{other.split('_', 2)[2]}"  # the id of one, the secret of another
        assert status(client, mixed) == 401
        refused = client.get("/admin", headers=bearer(good))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
        assert status(client, other) == 403


def test_a_revocation_acts_within_seconds(build: Build) -> None:
    service = build(auth=REQUIRED)
    key = service.keys.add()
    key_id = key.split("_")[1]
    with TestClient(service.app) as client:
        assert status(client, key) == 200
        service.keys.records.pop(key_id)
        service.clock.now_s += 4.9
        assert status(client, key) == 200
        service.clock.now_s += 0.2
        assert status(client, key) == 401
        assert service.keys.lookups == 2


def test_a_database_that_is_down_lets_in_only_who_was_known(build: Build) -> None:
    service = build()
    key, stranger = service.keys.add(), service.keys.add()
    with TestClient(service.app) as client:
        assert status(client, key) == 200
        service.keys.down = True
        service.clock.now_s += 6
        assert status(client, key) == 200
        asked = service.keys.lookups
        assert [status(client, key) for _ in range(5)] == [200] * 5
        assert service.keys.lookups == asked  # nobody waits for the same answer again
        answer = client.get("/who", headers=bearer(stranger))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        with pytest.raises(WebSocketDenialResponse) as refused, _socket(client, bearer(stranger)):
            pass
        assert refused.value.status_code == 503
        assert client.get("/health").status_code == 200
        service.clock.now_s += 3600
        assert status(client, key) == 503


def test_an_open_server_stays_open_while_its_database_is_down_and_closes_with_the_first_key(build: Build) -> None:
    service = build()
    with TestClient(service.app) as client:
        assert status(client, None) == 200
        service.keys.down = True
        service.clock.now_s += 6
        assert status(client, None) == 200
        service.keys.down = False
        service.keys.add()
        service.clock.now_s += 6
        assert status(client, None) == 401


def test_a_server_that_cannot_read_its_keys_does_not_start(build: Build) -> None:
    service = build()
    service.keys.down = True
    with pytest.raises(Unavailable):
        asyncio.run(service.authenticator.start())


@pytest.mark.parametrize(
    "protocols",
    [["token", "KEY"], ["bearer", "KEY"], ["realtime", "openai-insecure-api-key.KEY"], ["harken", "harken-key.KEY"]],
)
def test_sockets_take_keys_as_subprotocols(build: Build, protocols: list[str]) -> None:
    service = build(auth=REQUIRED)
    key = service.keys.add(("stream",))
    offered = [name.replace("KEY", key) for name in protocols]
    with (
        TestClient(service.app) as client,
        client.websocket_connect("/socket", subprotocols=offered) as socket,
    ):
        assert socket.receive_text() == f"key:{key.split('_')[1]}"
        assert socket.accepted_subprotocol == protocols[0]
        socket.send_text("bye")


def test_sockets_are_refused_before_accept(build: Build) -> None:
    service = build(auth=REQUIRED, limits=LimitSettings(rate="1/minute"))
    wrong_scope, good = service.keys.add(("transcribe",)), service.keys.add(("stream",))
    with TestClient(service.app) as client:

        def refusal(headers: dict[str, str]) -> tuple[int, str]:
            with pytest.raises(WebSocketDenialResponse) as refused, _socket(client, headers):
                pass
            return refused.value.status_code, refused.value.json()["error"]["code"]

        assert refusal({}) == (401, "not_authenticated")
        assert refusal(bearer("hk_nobody_" + "x" * 43)) == (401, "not_authenticated")
        assert refusal(bearer(wrong_scope)) == (403, "not_allowed")
        with client.websocket_connect("/socket", headers=bearer(good)) as socket:
            socket.receive_text()
            socket.send_text("bye")
        assert refusal(bearer(good)) == (429, "rate_exceeded")


def test_the_rate_is_that_of_the_key(build: Build) -> None:
    service = build(auth=REQUIRED, limits=LimitSettings(rate="3/minute"))
    slow, fast = service.keys.add(), service.keys.add(rate="5/minute")
    with TestClient(service.app) as client:
        assert [status(client, slow) for _ in range(4)] == [200, 200, 200, 429]
        assert [status(client, fast) for _ in range(6)] == [200] * 5 + [429]
        assert 1 <= int(client.get("/who", headers=bearer(slow)).headers["retry-after"]) <= 60
        service.clock.now_s += 61
        assert status(client, slow) == 200


def test_who_fails_too_often_is_not_looked_up_any_more_and_neighbours_get_in(build: Build) -> None:
    service = build(auth=REQUIRED, limits=LimitSettings(failed_authentications="3/minute"))
    good, new = service.keys.add(), service.keys.add()
    with TestClient(service.app) as client:
        assert status(client, good) == 200
        guesses = [f"hk_guess{number}_{'x' * 43}" for number in range(6)]
        assert [status(client, guess) for guess in guesses] == [401, 401, 401, 429, 429, 429]
        lookups = service.keys.lookups
        assert [status(client, guess) for guess in ("hk_other_" + "x" * 43, "nonsense")] == [429, 429]
        assert service.keys.lookups == lookups
        service.clock.now_s += 6
        assert status(client, good) == 200  # known to be good
        assert status(client, good[:-1] + "?") == 429
        assert status(client, new) == 429  # not known: has to wait
        assert status(client, None) == 401  # nothing was tried
        service.clock.now_s += 61
        assert status(client, new) == 200


def test_failures_are_counted_by_the_client_behind_a_trusted_proxy(build: Build) -> None:
    trusted = ProxySettings(trusted=("10.0.0.1",)).networks()
    service = build(auth=REQUIRED, limits=LimitSettings(failed_authentications="1/minute"), trusted_proxies=trusted)
    with TestClient(service.app, client=("10.0.0.1", 5)) as client:

        def attempt(address: str) -> int:
            return client.get("/who", headers={**bearer("bad"), "X-Forwarded-For": address}).status_code

        assert [attempt("1.1.1.1"), attempt("1.1.1.1"), attempt("2.2.2.2"), attempt("9.9.9.9, 2.2.2.2")] == [
            401,
            429,
            401,
            429,
        ]


def test_tokens_are_taken_beside_keys(build: Build) -> None:
    jwt = JwtSettings(algorithms=("HS256",), audience="harken", secret=SECRET)
    service = build(auth=AuthSettings(jwt=jwt))
    key = service.keys.add()
    soon = {**GOOD, "exp": service.clock.now_s + 60}
    with TestClient(service.app) as client:
        assert not service.authenticator.is_open()
        assert status(client, None) == 401
        assert client.get("/who", headers=bearer(sign(soon, KEYS["oct"], "HS256"))).json()["id"] == "jwt:anna"
        assert status(client, key) == 200
        late = {**GOOD, "exp": service.clock.now_s - 60}
        assert status(client, sign(late, KEYS["oct"], "HS256")) == 401
        assert status(client, sign({**soon, "scope": "stream"}, KEYS["oct"], "HS256")) == 403


def test_off_with_tokens_contradicts_itself() -> None:
    with pytest.raises(ValueError, match="mode is 'off' with jwt"):
        AuthSettings(mode="off", jwt=JwtSettings(algorithms=("HS256",), audience="a", secret=SECRET))


def test_a_route_that_declares_nothing_is_named() -> None:
    app, router = FastAPI(), APIRouter()
    app.add_api_route("/fine", lambda: 0, dependencies=[Depends(public)])

    async def needs(principal: Annotated[Principal, Depends(requires("stream"))]) -> None: ...

    async def nested(connection: HTTPConnection, principal: Annotated[Principal, Depends(lambda: None)]) -> None: ...

    router.add_api_websocket_route("/fine", needs)
    router.add_api_route("/open", nested, methods=["POST", "GET"])
    router.add_api_websocket_route("/live", nested)
    app.include_router(router, prefix="/in")
    app.mount("/files", StaticFiles(directory="/tmp"))
    with pytest.raises(ValueError, match="no policy declared") as refused:
        require_policies(app)
    named = str(refused.value).partition(": ")[2].partition("; use")[0].split("; ")
    assert sorted(named) == [
        "GET HEAD /docs",
        "GET HEAD /docs/oauth2-redirect",
        "GET HEAD /openapi.json",
        "GET HEAD /redoc",
        "GET POST /in/open",
        "WEBSOCKET /in/live",
        "mount /files",
    ]


def test_the_small_service_declares_everything(build: Build) -> None:
    app = build().app
    require_policies(app)
    app.mount("/files", StaticFiles(directory="/tmp"))
    require_policies(app, public_mounts=("/files",))


async def _wrapped(principal: Annotated[Principal, Depends(requires("stream"))]) -> str:
    return principal.id


def test_a_policy_that_is_named_twice_is_asked_once(build: Build) -> None:
    service = build(limits=LimitSettings(rate="3/minute"))
    asked = [Depends(requires("stream")), Depends(_wrapped)]
    service.app.add_api_route("/twice", lambda: 0, dependencies=asked)
    with TestClient(service.app) as client:
        assert [client.get("/twice").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_policies_are_readable_and_only_one_each() -> None:
    app = FastAPI(openapi_url=None)
    app.add_api_route("/a", lambda: 0, dependencies=[Depends(requires("batch"))])
    app.add_api_route("/b", lambda: 0, dependencies=[Depends(public)])
    app.add_api_route("/c", lambda: 0)
    app.add_api_route("/d", lambda: 0, dependencies=[Depends(public), Depends(requires("batch"))])
    app.add_api_route("/e", lambda: 0, dependencies=[Depends(_wrapped)])
    policies = [policy_of(route) for route in app.routes if getattr(route, "path", "") != "/d"]
    assert policies == ["batch", "public", None, "stream"]
    with pytest.raises(ValueError, match="/d declares batch and public"):
        policy_of(app.routes[3])
    with pytest.raises(ValueError, match="scope is 'everything'"):
        requires("everything")


def test_the_schema_says_which_routes_need_a_key() -> None:
    app = FastAPI()
    app.add_api_route("/a", lambda: 0, dependencies=[Depends(requires("batch"))])
    app.add_api_route("/b", lambda: 0, dependencies=[Depends(public)])
    schema = app.openapi()
    assert schema["paths"]["/a"]["get"]["security"] == [{"key": []}]
    assert "security" not in schema["paths"]["/b"]["get"]
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_who_was_let_in_holds_as_long_as_the_key(build: Build) -> None:
    service = build(auth=REQUIRED)
    key, ending = service.keys.add(), service.keys.add(expires_s=service.clock.now_s + 3)
    authenticator = service.authenticator

    async def check() -> None:
        first, second = (service.keys.records[each.split("_")[1]].principal() for each in (key, ending))
        assert await authenticator.still_holds(first)
        assert await authenticator.still_holds(second)
        service.clock.now_s += 3.1  # what is known of the key is still fresh: its end needs no look-up
        assert service.keys.lookups == 2
        assert not await authenticator.still_holds(second)
        assert service.keys.lookups == 2
        service.keys.records.pop(key.split("_")[1])
        service.keys.down = True
        service.clock.now_s += 6
        assert await authenticator.still_holds(first)  # nobody can say otherwise
        service.keys.down = False
        service.clock.now_s += 6
        assert not await authenticator.still_holds(first)
        await authenticator.close()

    asyncio.run(check())


def test_who_needed_no_key_holds_until_there_is_one(build: Build) -> None:
    service = build()
    anyone = Principal(id="anonymous@here", name="anonymous", kind="anonymous", scopes=frozenset())

    async def check() -> None:
        assert await service.authenticator.still_holds(anyone)
        service.keys.add()
        service.clock.now_s += 6
        assert not await service.authenticator.still_holds(anyone)
        await service.authenticator.close()

    asyncio.run(check())


def test_a_token_holds_until_its_end(build: Build) -> None:
    service = build()
    now_s = service.clock.now_s
    caller = Principal(id="jwt:anna", name="anna", kind="jwt", scopes=frozenset(), until_s=now_s + 60)

    async def check() -> None:
        assert await service.authenticator.still_holds(caller)
        service.clock.now_s = now_s + 60
        assert not await service.authenticator.still_holds(caller)
        await service.authenticator.close()

    asyncio.run(check())
