"""The documentation tells the truth: snippets run, recipes load, commands, targets and links exist.

A Python block after `<!-- runs -->` is executed, the blocks of a page one after the other in one namespace and an
empty folder. A YAML block after `<!-- recipe -->` is loaded as a recipe. Every `harken …` line of a shell block is
looked up in the command line itself.
"""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
GENERATED = {ROOT / "docs" / "reference" / "cli.md"}
FENCE = re.compile(
    r"^(?P<mark><!-- *(?P<name>\w+) *-->\n+)?(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]\n]*\]\((?!https?:|mailto:|#)([^)\s]+)\)|<img [^>]*src=\"(?!https?:)([^\"]+)\"")


@dataclass(frozen=True, kw_only=True)
class Block:
    page: Path
    language: str
    mark: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            language=found["language"],
            mark=found["name"] or "",
            text=re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            line=text.count("\n", 0, found.start("language")) + 1,
        )
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in _blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
RECIPES = [block for block in BLOCKS if block.mark == "recipe"]
SHELL = [block for block in BLOCKS if block.language in ("bash", "sh", "shell") and block.page not in GENERATED]


def test_there_is_something_to_test() -> None:
    assert len(PAGES) > 10
    assert len([block for block in PYTHON if block.mark == "runs"]) >= 3
    assert len(SHELL) >= 5


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_python_is_python(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize(
    "page", sorted({block.page for block in PYTHON if block.mark == "runs"}), ids=lambda page: page.stem
)
def test_python_that_says_it_runs_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "__docs__"}
    for block in (block for block in PYTHON if block.page == page and block.mark == "runs"):
        padded = "\n" * block.line + block.text  # a traceback then shows the page's own line number
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(padded, str(page), "exec"), space)


@pytest.mark.parametrize("block", RECIPES, ids=lambda block: block.place)
def test_recipes_load(block: Block, tmp_path: Path) -> None:
    from harken.training.recipe import load_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(block.text, encoding="utf-8")
    load_recipe(path)


def _commands(text: str) -> list[str]:
    """Calls of `harken` in a shell block: one a line, backslashes joined, comments and prompts cut."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    lines = [line.strip().removeprefix("$ ") for line in lines]
    calls = [re.sub(r"^(\S*/)?harken\b", "harken", line) for line in lines if re.match(r"^(\S*/)?harken\b", line)]
    return [re.split(r"\s+#|\s*[|>]|\s*&&", call)[0] for call in calls]


@pytest.mark.parametrize(
    ("place", "call"),
    [(block.place, call) for block in SHELL for call in _commands(block.text)],
    ids=lambda value: value.replace("/", "-")[:60],
)
def test_commands_in_the_docs_exist(place: str, call: str) -> None:
    from typer.main import get_command

    from harken.cli.main import app

    command: Any = get_command(app)
    words = shlex.split(call)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}) or not words or words[0].startswith("-"), f"{place}: {call}"
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert unknown == [], f"{place}: {call}"


def test_make_targets_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^([\w -]+):(?!=)", makefile, re.MULTILINE) for name in line.split()}
    for block in SHELL:
        for name in re.findall(r"^\s*(?:\$ )?make ([a-z][\w-]*)", block.text, re.MULTILINE):
            assert name in targets, f"{block.place}: make {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)).replace("/", "-"))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target for pair in LINK.findall(text) for target in pair if target]
    missing = [target for target in targets if not (page.parent / target.partition("#")[0]).exists()]
    assert missing == []


def test_every_error_that_troubleshooting_quotes_is_in_the_source() -> None:
    """Quoted messages are looked up by their longest fixed piece, so that a reworded error is noticed here."""
    page = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    quoted = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    assert len(quoted) >= 10
    for message in quoted:
        pieces = [piece.strip() for piece in message.split("…")]
        longest = max(pieces, key=len)
        assert longest in source, message


def test_every_page_of_the_guide_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in PAGES if (ROOT / "docs") in path.parents]
    assert [page for page in pages if page not in navigation] == []
