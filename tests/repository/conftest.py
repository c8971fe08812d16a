"""The repository's own tools (`benchmarks`, `tools`) are not installed; their tests find them in its root."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)
