"""Each room's `__all__` is honest, and importing costs only what it has to."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import harken

SOURCE = Path(harken.__file__).parent
# The command line has commands, not names for others to import.
ROOMS = sorted({path.parent.name for path in SOURCE.glob("*/__init__.py")} - {"cli"})
ROOMS_WITH_TORCH = {"models", "training", "inference"}
HEAVY = {
    "alembic",
    "av",
    "datasets",
    "fastapi",
    "httpx",
    "lhotse",
    "matplotlib",
    "mlflow",
    "numba",
    "obstore",
    "onnxruntime",
    "pandas",
    "prometheus_client",
    "psycopg",
    "pydantic",
    "redis",
    "scipy",
    "soundfile",
    "soxr",
    "sqlalchemy",
    "structlog",
    "tensorboard",
    "tokenizers",
    "torch",
    "transformers",
}


def _loaded_after(code: str) -> set[str]:
    """Top-level packages in memory after a fresh Python ran `code`."""
    report = "\nimport sys, json\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_public_names_are_sorted_unique_strings_that_exist(room: str) -> None:
    module = import_module(f"harken.{room}" if room else "harken")
    names = module.__all__
    assert all(isinstance(name, str) for name in names)  # an object in __all__ breaks `import *`
    assert list(names) == sorted(set(names))
    absent = [name for name in names if not hasattr(module, name)]
    assert absent == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_star_import_gives_exactly_the_public_names(room: str) -> None:
    space: dict[str, object] = {}
    exec(f"from harken.{room} import *", space)
    assert set(space) - {"__builtins__"} == set(import_module(f"harken.{room}").__all__)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_an_unknown_name_is_an_attribute_error(room: str) -> None:
    module = import_module(f"harken.{room}" if room else "harken")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_importing_harken_loads_nothing_at_all() -> None:
    assert _loaded_after("import harken").isdisjoint({*HEAVY, "numpy", "yaml"})


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_loads_no_heavy_package(room: str) -> None:
    allowed = {"torch"} if room in ROOMS_WITH_TORCH else set()
    found = _loaded_after(f"import harken.{room}") & HEAVY
    if "torch" in found & allowed:  # torch brings NumPy, SymPy and others along, whatever it likes
        pytest.skip("this room is built on torch")
    assert found == set()


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys\nsys.argv = ['harken', '--help']\nfrom harken.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
    )
    assert _loaded_after(code).isdisjoint(HEAVY)


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()
