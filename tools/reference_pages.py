"""docs/reference/: the command line from `--help`, and each room from its `__all__`.

    python -m tools.reference_pages [--check]

The pages of the rooms hold names only; mkdocstrings puts signatures and docstrings there when the site is built.
"""

# ruff: noqa: T201 (a script: printing is what it is for)

import ast
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import getfile
from pathlib import Path
from types import ModuleType
from typing import Any

# Read by typer while it is imported: plain text instead of boxes, the same on every terminal.
os.environ.update(TYPER_USE_RICH="0", COLUMNS="100", TERMINAL_WIDTH="100", NO_COLOR="1", LANG="C.UTF-8")

from tools.generated import ROOT, keep_up_to_date, leftovers

FOLDER = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "harken"
MARK = "<!-- Written by `python -m tools.reference_pages`; do not edit. -->"


def rooms() -> list[str]:
    """The rooms with public names, from the lowest floor up; the command line has its own page."""
    order = ["core", "audio", "text", "tracking", "testing", "data", "models", "evaluation", "inference", "training"]
    there = {path.parent.name for path in SOURCE.glob("*/__init__.py")} - {"cli"}
    return [room for room in order if room in there] + sorted(there - set(order))


def room_page(room: str) -> str:
    """A heading for the room, its docstring, and a mkdocstrings block for each public name."""
    module = import_module(f"harken.{room}")
    blocks = [f"::: {_home(module, name)}.{name}" for name in sorted(module.__all__, key=str.lower)]
    return "\n\n".join([MARK, f"# harken.{room}", module.__doc__ or "", *blocks]) + "\n"


def cli_page() -> str:
    """Every command's help, as a terminal shows it."""
    from typer.main import get_command
    from typer.testing import CliRunner

    from harken.cli.main import app

    parts = [MARK, "# Command line", "What `--help` says, for every command."]
    for path in _commands(get_command(app), ()):
        shown = CliRunner().invoke(app, [*path, "--help"], prog_name="harken", env={"COLUMNS": "100"})
        if shown.exit_code != 0:
            raise RuntimeError(f"harken {' '.join(path)} --help failed: {shown.output}") from shown.exception
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"{'#' * min(len(path) + 2, 4)} {' '.join(('harken', *path))}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from _commands(child, (*path, name))


def _home(room: ModuleType, name: str) -> str:
    """The module that defines a public name; a class or function says so itself, a constant has to be looked for."""
    value = getattr(room, name)
    said = str(getattr(value, "__module__", ""))
    if said.startswith(f"{room.__name__}.") and hasattr(sys.modules[said], name):
        return said
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith(f"{room.__name__}.") and vars(module).get(name) is value and _assigns(module, name):
            return module_name
    return room.__name__


def _assigns(module: ModuleType, name: str) -> bool:
    tree = ast.parse(Path(getfile(module)).read_text(encoding="utf-8"))
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def main() -> int:
    check = "--check" in sys.argv[1:]
    pages = {FOLDER / "cli.md": cli_page(), **{FOLDER / f"{room}.md": room_page(room) for room in rooms()}}
    stale = keep_up_to_date(pages, check=check)
    for path in leftovers(FOLDER, pages, MARK):
        if check:
            print(f"{path.relative_to(ROOT)} describes what is gone; run `make generate`.", file=sys.stderr)
            stale = 1
        else:
            path.unlink()
    return stale


if __name__ == "__main__":
    sys.exit(main())
