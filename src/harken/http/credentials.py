"""What a request shows of its caller: a key or a token, from the places clients put them."""

from starlette.requests import HTTPConnection

from harken.http.errors import NotAuthenticated

_SCHEMES = ("bearer", "token")  # the second is Deepgram's
_PROTOCOL_PREFIXES = ("openai-insecure-api-key.", "harken-key.")
_LONGEST = 8192  # characters


def credential_of(connection: HTTPConnection) -> str | None:
    """The key or token of a request; None where it has none.

    Taken from `Authorization: Bearer` or `Token`, `X-API-Key`, and for a WebSocket, where browsers set no headers,
    the subprotocols `token, X`, `bearer, X`, `openai-insecure-api-key.X` and `harken-key.X`. Never from the query,
    which ends in logs. Raises NotAuthenticated for credentials that cannot be read, or more than one.
    """
    found = {*_from_authorization(connection), *connection.headers.getlist("x-api-key")}
    if connection.scope["type"] == "websocket":
        found |= set(_from_protocols(connection.scope.get("subprotocols", [])))
    if len(found) > 1:
        raise NotAuthenticated("The request has several different credentials.", hint="Send one.")
    credential = found.pop() if found else None
    if credential is not None and not (0 < len(credential) <= _LONGEST and credential.isascii()):
        raise NotAuthenticated("The credentials cannot be read.")
    return credential


def accepted_protocol(protocols: list[str]) -> str | None:
    """The subprotocol to accept a WebSocket with: the first one offered that is no credential."""
    secret = set(_from_protocols(protocols))
    plain = [name for name in protocols if name not in secret and not name.startswith(_PROTOCOL_PREFIXES)]
    return plain[0] if plain else None


def _from_authorization(connection: HTTPConnection) -> list[str]:
    values = []
    for header in connection.headers.getlist("authorization"):
        scheme, _, value = header.strip().partition(" ")
        if scheme.lower() not in _SCHEMES or not value.strip():
            raise NotAuthenticated("The Authorization header cannot be read.", hint="Send `Bearer` and the key.")
        values.append(value.strip())
    return values


def _from_protocols(protocols: list[str]) -> list[str]:
    values = [
        name.removeprefix(prefix) for name in protocols for prefix in _PROTOCOL_PREFIXES if name.startswith(prefix)
    ]
    if len(protocols) >= 2 and protocols[0].lower() in _SCHEMES:
        values.append(protocols[1])
    return values
