"""`harken models swap`: another model behind a name of a running server."""

from dataclasses import asdict
from typing import Annotated

import typer

from harken.cli.output import note, print_json


def swap_model(
    name: Annotated[str, typer.Argument(help="A model of the server, by its name.")],
    folder: Annotated[str, typer.Argument(help="The new model's folder on the server, in one of its models.folders.")],
    server: Annotated[str, typer.Option("--server", help="Address of the server.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Variable with the key, of scope admin; HARKEN_API_KEY.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Put another model behind a name of a running server, without a request that notices.

    The old model stays where the new one cannot be loaded.
    """
    from harken.cli.remote import key_of
    from harken.client.sync_client import HarkenClient
    from harken.core import InputError

    try:
        client = HarkenClient(server, api_key=key_of(api_key_env))
    except ValueError as err:
        raise InputError(f"--server: {err}.") from err
    with client:
        facts = client.swap_model(name, folder)
    if json_output:
        print_json(asdict(facts))
    else:
        note(f"{facts.name} is {facts.path} now ({facts.family}, {', '.join(facts.languages) or 'any language'}).")
