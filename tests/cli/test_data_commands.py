"""`harken data`: results on stdout, problems named, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harken = Callable[..., Any]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [["data", "validate"], ["data", "stats"], ["data", "split", "-o", "parts"]])
def test_manifests_that_are_none(harken: Harken, tmp_path: Path, command: list[str]) -> None:
    absent, empty = tmp_path / "absent.jsonl", write(tmp_path / "empty.jsonl")
    broken = write(tmp_path / "broken.jsonl", "{")
    first = harken(*command, absent)
    assert (first.code, first.out) == (2, "")
    assert "absent.jsonl does not exist. Check the path." in first.err
    second = harken(*command, empty)
    assert (second.code, second.out) == (2, "")
    assert "empty.jsonl holds no utterances" in second.err
    third = harken(*command, broken)
    assert third.code == 2
    assert "broken.jsonl" in third.out + third.err
    assert "not JSON" in third.out + third.err
    assert not (tmp_path / "parts").exists()


def test_validate_says_what_is_wrong_with_which_line(harken: Harken, tmp_path: Path) -> None:
    good = '{"id": "a", "audio": "a.wav", "duration_s": 1, "text": "x"}'
    manifest = write(tmp_path / "m.jsonl", good, "nonsense", good, good.replace('"a"', '"b"').replace("1", "-1"))
    answer = harken("data", "validate", manifest)
    assert answer.code == 2
    lines = answer.out.splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4"]
    assert "not JSON" in lines[0]
    assert "duration" in lines[2]
    problems = harken("data", "validate", manifest, "--json").json["problems"]
    assert [problem["line"] for problem in problems] == [2, 3, 4]


def test_validate_counts_names_and_keeps(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    lines = (corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line.replace('"audio": "', f'"audio": "{corpus}/') for line in lines]
    manifest = write(tmp_path / "m.jsonl", *lines[:3], lines[3].replace("03.wav", "absent.wav"))
    answer = harken("data", "validate", manifest, "--out", tmp_path / "kept.jsonl")
    assert answer.code == 2
    assert "4 utterances" in answer.out
    assert "3 kept (3 with warnings), 1 rejected" in answer.out  # white noise has no signal-to-noise ratio
    assert "clip-03" in answer.out
    assert "absent.wav does not exist" in answer.out
    assert "kept.jsonl: 3 utterances that passed" in answer.err
    assert len((tmp_path / "kept.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert harken("data", "validate", tmp_path / "kept.jsonl").code == 0


def test_validate_writes_what_to_drop_and_why(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    manifest = corpus / "train.jsonl"
    answer = harken("data", "validate", manifest, "--table", tmp_path / "t.tsv", "--reject", "low_snr")
    assert answer.code == 2
    assert "t.tsv: 12 rows" in answer.err
    rows = (tmp_path / "t.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[1].split("\t")[:2] == ["clip-00", "drop"]
    assert rows[1].split("\t")[2].startswith("low_snr: ")
    calm = harken("data", "validate", manifest, "--limit", "min_snr_db=none", "--table", tmp_path / "none.csv")
    assert (calm.code, calm.out) == (0, "12 utterances, 8.9 s: 12 kept, 0 rejected.\n")
    assert len((tmp_path / "none.csv").read_text(encoding="utf-8").splitlines()) == 1
    everything = harken(
        "data", "validate", manifest, "--limit", "min_snr_db=off", "--table", tmp_path / "all.jsonl", "--all-rows"
    )
    assert everything.code == 0
    assert len((tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()) == 12
    report = harken("data", "validate", manifest, "--examples", 0, "--json").json
    assert report["counts"] == {"low_snr": {"severity": "warning", "count": 12}}


def test_an_interrupted_listening_leaves_nothing(tmp_path: Path, corpus: Path) -> None:
    import os
    import signal
    import subprocess
    import sys
    import time

    line = json.loads((corpus / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    line["audio"] = str(corpus / line["audio"])
    manifest = write(tmp_path / "m.jsonl", *(json.dumps({**line, "id": f"u{n}"}) for n in range(30_000)))
    command = [sys.executable, "-m", "harken.cli.main", "data", "validate", manifest, "--table", tmp_path / "t.tsv"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [*map(str, command), "--out", str(tmp_path / "kept.jsonl")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    time.sleep(3)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reject", "noise"], "--reject names 'noise', which is no check. Use unreadable, "),
        (["--limit", "min_snr=3"], "min_snr is not a setting; did you mean 'min_snr_db'?"),
        (["--limit", "min_snr_db=much"], "min_snr_db is 'much'; input should be a valid number"),
        (["--limit", "min_snr_db"], "--limit 'min_snr_db' is not NAME=VALUE. Write --limit min_snr_db=10."),
        (["--limit", "also_reject=clipping"], "--limit names also_reject. Write --reject CHECK for each check."),
        (["--limit", "max_duration_s=3", "--max-duration-s", "4"], "max_duration_s is given twice"),
        (["--table", "t.xlsx"], "The table is to be t.xlsx. Use a name that ends in .tsv, .csv, .jsonl."),
        (["--all-rows"], "--all-rows is about the table, and there is no --table."),
        (["--max-duration-s", "-1"], "max_duration_s is -1.0; use a number, 0 or more"),
        (["--min-duration-s", "3", "--max-duration-s", "2"], "max_duration_s is 2.0; use min_duration_s (3.0) or more"),
    ],
)
def test_validate_refuses_odd_limits(harken: Harken, corpus: Path, arguments: list[str], message: str) -> None:
    answer = harken("data", "validate", corpus / "train.jsonl", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_stats(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken("data", "stats", corpus / "train.jsonl", "--picture", tmp_path / "p.svg", "--json")
    assert answer.code == 0
    assert answer.json["stats"]["utterances"] == 12
    assert answer.err == f"picture: {tmp_path / 'p.svg'}\n"
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "12" in harken("data", "stats", corpus / "train.jsonl", "--sample", 0).out
    assert answer.json["audio"] is None
    odd = harken("data", "stats", corpus / "train.jsonl", "--picture", tmp_path / "p.txt")
    assert (odd.code, odd.out) == (2, "")
    assert "Use a name that ends in .png or .svg." in odd.err


def test_stats_of_the_recordings(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    manifest = corpus / "train.jsonl"
    answer = harken("data", "stats", manifest, "--audio", "--threads", 2, "--picture", tmp_path / "p.png", "--json")
    assert (answer.code, answer.err) == (0, f"picture: {tmp_path / 'p.png'}\n")
    assert answer.json["audio"]["sample_rates_hz"] == {"16000": 12}
    assert answer.json["audio"]["measures"]["loudness_lufs"]["known"] == 12
    assert "LUFS in the middle" in harken("data", "stats", manifest, "--audio").out
    odd = harken("data", "stats", manifest, "--threads", 2)
    assert (odd.code, odd.out) == (2, "")
    assert "--threads is about listening, and there is no --audio." in odd.err


def test_split_shares_no_speaker(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken(
        "data", "split", corpus / "train.jsonl", "-o", tmp_path, "--part", "a=0.7", "--part", "b=0.3", "--json"
    )
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {"a": 8, "b": 4}
    speakers = [
        {json.loads(line)["speaker"] for line in (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()}
        for name in "ab"
    ]
    assert not speakers[0] & speakers[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "train"], "--part 'train' is not NAME=VALUE. Write --part train=0.8."),
        (["--part", "=0.5"], "--part '=0.5' is not NAME=VALUE."),
        (["--part", "train="], "--part 'train=' is not NAME=VALUE."),
        (["--part", "train=many"], "--part train=many has no number."),
        (["--part", "train=true"], "--part train=True has no number."),
        (["--part", "train=-1"], "The share of 'train' is -1."),
        (["--part", "../x=1"], "--part names '../x', which cannot be a file name."),
        (["--part", "a=1", "--part", "a=2"], "--part gives 'a' twice."),
        (["--by", "day"], "--by is 'day'. Use speaker, recording, utterance or tag."),
    ],
)
def test_split_refuses_odd_parts(
    harken: Harken, corpus: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = harken("data", "split", corpus / "train.jsonl", "-o", tmp_path / "parts", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "parts").exists()


def test_import(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken(
        "data", "import", "dir", corpus, "-o", tmp_path / "m.jsonl", "--option", "require_text=false", "--json"
    )
    assert answer.code == 0
    assert (answer.json["utterances"], answer.json["rejected"]) == (12, 0)
    without = harken("data", "import", "dir", corpus, "-o", tmp_path / "none.jsonl")
    assert (without.code, without.out) == (2, "")
    assert "gave no utterance" in without.err
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["odd", "."], 3, "called 'odd'. Installed: commonvoice, coraal, dir"),
        (["fsdd", "absent"], 2, "absent does not exist"),
        (["dir", ".", "--option", "x"], 2, "--option 'x' is not NAME=VALUE."),
        (["dir", ".", "--option", "colour=red"], 2, "'colour'"),
    ],
)
def test_import_refusals(
    harken: Harken,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = harken("data", "import", *arguments, "-o", tmp_path / "m.jsonl")
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert not (tmp_path / "m.jsonl").exists()


def test_compose(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    answer = harken("data", "compose", corpus / "train.jsonl", "-o", tmp_path / "out", "--max-clips", 2)
    assert answer.code == 0
    assert answer.out.startswith(f"{tmp_path / 'out' / 'manifest.jsonl'}: ")
    odd = harken("data", "compose", corpus / "train.jsonl", "-o", tmp_path / "odd", "--min-clips", 0)
    assert (odd.code, odd.out) == (2, "")
    assert "min_clips is 0; use 1 or more" in odd.err
    assert not (tmp_path / "odd").exists()


def test_version_and_verify(harken: Harken, corpus: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(corpus, tmp_path / "set")
    manifest, lock = tmp_path / "set" / "train.jsonl", tmp_path / "lock.json"
    assert harken("data", "version", "noises", "1.0", manifest, "-o", lock).code == 0
    assert harken("data", "verify", lock).out == "unchanged\n"
    (tmp_path / "set" / "00.wav").write_bytes(b"changed")
    changed = harken("data", "verify", lock)
    assert changed.code == 2
    assert "changed: " in changed.out
    assert "00.wav" in changed.out
    assert harken("data", "verify", lock, "--json").json["ok"] is False
    for path in (tmp_path / "absent.json", manifest):
        odd = harken("data", "verify", path)
        assert (odd.code, odd.out) == (2, "")
        assert path.name in odd.err
