"""Plugin lookup by entry points; Harken's own parts are found the same way."""

from importlib.metadata import EntryPoint, entry_points

from harken.core.errors import InputError, MissingPart


def plugin_names(group: str) -> list[str]:
    """Names registered in an entry-point group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> object:
    """The object registered as `name` in `group`; its module is imported only now.

    Raises MissingPart when nothing has that name, InputError when two packages claim it. A plugin that fails to
    import shows its own traceback.
    """
    found: list[EntryPoint] = [point for point in entry_points(group=group) if point.name == name]
    if not found:
        known = ", ".join(plugin_names(group)) or "none"
        raise MissingPart(f"There is no {group} called {name!r}.", hint=f"Installed: {known}.")
    # An editable install and a wheel of the same package can both be on the path; they name the same object.
    if len({point.value for point in found}) > 1:
        owners = ", ".join(sorted({point.dist.name if point.dist else point.value for point in found}))
        raise InputError(f"{name!r} is registered {len(found)} times in {group}.", hint=f"Keep one of: {owners}.")
    return found[0].load()
