"""Fixtures shared by every room's tests."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.services"]

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_fsdd() -> Path:
    """The Free Spoken Digit Dataset beside the project; skipped, with the reason, where it is absent."""
    folder = SHARED / "data" / "fsdd"
    if not (folder / "recordings").is_dir():
        pytest.skip("needs real speech in ../shared/data/fsdd")
    return folder
