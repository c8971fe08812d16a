"""Writing generated files, or finding out that they are out of date."""

# ruff: noqa: T201 (a script: printing is what it is for)

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def keep_up_to_date(pages: Mapping[Path, str], *, check: bool) -> int:
    """Write every page that differs; under `check` write nothing and return 1 if one does, showing how."""
    stale = [path for path, text in pages.items() if _content(path) != text]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        return 0
    for path in stale:
        before, after = _content(path).splitlines(), pages[path].splitlines()
        name = str(path.relative_to(ROOT))
        changes = list(difflib.unified_diff(before, after, name, f"{name}, generated now", lineterm="", n=1))
        print("\n".join(changes[:20]), file=sys.stderr)
        print(f"{name} is out of date; run `make generate`.", file=sys.stderr)
    return 1 if stale else 0


def leftovers(folder: Path, pages: Mapping[Path, str], mark: str) -> list[Path]:
    """Files in `folder` that carry the generator's mark but that it would no longer write."""
    return [path for path in sorted(folder.glob("*.md")) if path not in pages and mark in _content(path)]


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
