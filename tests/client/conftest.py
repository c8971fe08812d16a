"""A server for the clients, and the moments they would have slept."""

from collections.abc import Iterator

import pytest
from tests.client.both import Awaiting, Both, Waiting
from tests.client.contract_server import Contract, contract_app, running


@pytest.fixture
def contract() -> Iterator[Contract]:
    """A running server that one test may tell what to do."""
    told = Contract()
    with running(contract_app(told)) as url:
        told.url = url
        yield told


@pytest.fixture(params=[Waiting, Awaiting], ids=lambda kind: str(kind.name))
def both(request: pytest.FixtureRequest) -> Both:
    """Each of the clients in turn."""
    return request.param()  # type: ignore[no-any-return]
