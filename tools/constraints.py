"""Writes constraints.txt: the versions that the tests ran with.

Run it in the environment that passed: `python -m tools.constraints`. Only what `harken[dev]` needs is listed, so a
tool that somebody installed by hand does not become everybody's. Local version suffixes (`+cpu`) are cut: they name a
build, and which build is right depends on the machine.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

TARGET = Path(__file__).resolve().parents[1] / "constraints.txt"
HEADER = "# The versions the tests ran with. Written by `python -m tools.constraints`; do not edit.\n"


def closure(root: Requirement) -> dict[str, str]:
    """Normalised name -> version of every installed distribution that `root` needs, itself left out."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [root]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            key = (_normalise(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            try:
                found = distribution(requirement.name)
            except PackageNotFoundError:
                continue  # needed on another system only, or by an extra that nothing here asks for
            versions[key[0]] = found.version.partition("+")[0]
            waiting += [need for text in found.requires or [] if _applies(need := Requirement(text), extra)]
    del versions[_normalise(root.name)]
    return versions


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    versions = closure(Requirement("harken[dev]"))
    TARGET.write_text(HEADER + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions)), encoding="utf-8")


if __name__ == "__main__":
    main()
