"""Runs benchmarks, each in a Python of its own, and keeps their results as JSON.

    python -m benchmarks.run [NAME ...] [--out DIR] [--strict] [--list]

A benchmark is a module `benchmarks/bench_<something>.py` with `NAME`, `run()` and, if it is not about one core,
`THREADS`. `run()` returns what the docs show: `name`, `title`, `target` (a sentence), `met` (did it reach the target),
`figures` ({metric: {"value", "unit", "spread", ...}}) and `rivals`. The machine's facts are added here.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, machine_facts, thread_environment

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    name: str
    module: str
    threads: int = 1


def discover(folder: Path = FOLDER) -> dict[str, Benchmark]:
    """Every benchmark by name. The files are read, not imported: some import a second's worth of packages."""
    found: dict[str, Benchmark] = {}
    for path in sorted(folder.glob("bench_*.py")):
        constants = _constants(path)
        name = str(constants.get("NAME", path.stem.removeprefix("bench_")))
        if name in found:
            raise ValueError(f"{path.name} and {found[name].module} are both called {name!r}; rename one")
        found[name] = Benchmark(name=name, module=f"benchmarks.{path.stem}", threads=int(constants.get("THREADS", 1)))
    return found


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """The benchmark's result with the machine it ran on, measured in a fresh process."""
    started, before = time.perf_counter(), machine_facts()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.run", "--one", benchmark.module, str(answer)]
        subprocess.run(command, cwd=ROOT, env=thread_environment(benchmark.threads), stdout=sys.stderr, check=True)
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    machine = {**before, "threads": benchmark.threads, "load_average_after": [round(x, 2) for x in os.getloadavg()]}
    return {
        **result,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - started, 1),
        "machine": machine,
    }


def verdict(result: dict[str, Any]) -> bool | None:
    """Whether the target was reached; None when the benchmark states none."""
    met = result.get("met")
    return met if isinstance(met, bool) else None


def table(result: dict[str, Any]) -> str:
    """The result for a terminal: one line a figure, then the verdict."""
    width = max((len(name) for name in result["figures"]), default=0)
    lines = [f"{result['name']}: {result.get('title', '')}".rstrip(": ")]
    lines += [f"  {name:<{width}}  {_figure(figure)}" for name, figure in result["figures"].items()]
    words = {True: "reached", False: "MISSED", None: "no verdict"}
    return "\n".join([*lines, f"  target: {result.get('target', 'none')} ({words[verdict(result)]})"])


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 when a benchmark broke, or when one missed its target under --strict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Run benchmarks, keep the results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--one", nargs=2, metavar=("MODULE", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        return _measure_here(*chosen.one)
    known = discover()
    if chosen.list:
        print("\n".join(known))
        return 0
    if unknown := sorted(set(chosen.names) - set(known)):
        parser.error(f"no benchmark called {', '.join(unknown)}; there are: {', '.join(known)}")
    return _run_all([known[name] for name in chosen.names or known], chosen.out, strict=chosen.strict)


def _run_all(benchmarks: list[Benchmark], out: Path, *, strict: bool) -> int:
    out.mkdir(parents=True, exist_ok=True)
    broken, missed = [], []
    for benchmark in benchmarks:
        try:
            result = measure(benchmark)
        except subprocess.CalledProcessError as err:
            print(f"{benchmark.name}: broke off with exit code {err.returncode}; its earlier result stays", flush=True)
            broken.append(benchmark.name)
            continue
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (out / f"{benchmark.name}.json").write_text(text, encoding="utf-8")
        print(table(result), flush=True)
        if verdict(result) is False:
            missed.append(benchmark.name)
    for word, names in (("broken", broken), ("missed its target", missed)):
        if names:
            print(f"{word}: {', '.join(names)}")
    return 1 if broken or (strict and missed) else 0


def _measure_here(module: str, answer: str) -> int:
    result = import_module(module).run()
    Path(answer).write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    return 0


def _constants(path: Path) -> dict[str, Any]:
    """Names that a module gives literal values at its top level."""
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def _figure(figure: dict[str, Any]) -> str:
    value = figure.get("value", figure.get("median"))
    number = f"{value:,.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    spread = figure.get("spread")
    between = f"  ({spread[0]:,.4g} to {spread[1]:,.4g})" if spread else ""
    return f"{number} {figure.get('unit', '')}{between}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
