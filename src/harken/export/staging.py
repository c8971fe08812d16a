"""Where exports are made before they are put into a model folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder beside the files it is for, so that they can be renamed into place; gone afterwards in any case."""
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
