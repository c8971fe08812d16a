"""Where Harken keeps what outlives a run."""

import os
from pathlib import Path


def home_folder() -> Path:
    """HARKEN_HOME, or .harken in the user's home."""
    return Path(os.environ.get("HARKEN_HOME") or Path.home() / ".harken")
