"""Who may reach into what belongs to others."""

from typing import Annotated

from fastapi import Depends

from harken.http.auth import Principal, requires
from harken.http.errors import NotAllowed


async def operator(principal: Annotated[Principal, Depends(requires("admin"))]) -> Principal:
    """A caller with the scope `admin` and a key or token of their own. An open server lets everybody do everything of
    their own, but not hear others or choose the models of others.
    """
    if principal.kind == "anonymous":
        raise NotAllowed(
            "This needs a key, on an open server too.", hint="Make one: harken tokens create NAME --scope admin."
        )
    return principal


Operator = Annotated[Principal, Depends(operator)]
