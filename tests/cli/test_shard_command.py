"""`harken data shard`: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from harken.cli.shard import shard
from harken.core import InputError
from harken.data.manifest import read_manifest


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(shard)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_writing_resuming_and_verifying(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = run(corpus / "train.jsonl", "-o", out, "--shard-mb", 0.1)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith(f"{out}/manifest.jsonl: 12 utterances in 3 shards, ")
    assert "0 of them there already" in answer.stderr
    assert len(read_manifest(out / "manifest.jsonl")) == 12
    again = json.loads(run(corpus / "train.jsonl", "-o", out, "--shard-mb", 0.1, "--json").stdout)
    assert (again["utterances"], again["shards"], again["reused"], again["rejected"]) == (12, 3, 3, [])
    assert run(out, "--verify").stdout == "unchanged\n"
    (out / "shard-000001.tar").unlink()
    broken = run(out, "--verify", "--json")
    assert broken.exit_code == 2
    assert json.loads(broken.stdout) == {"ok": False, "problems": ["shard-000001.tar is missing"]}
    assert run(out, "--verify").stdout == "shard-000001.tar is missing\nchanged\n"


def test_flac_is_smaller_and_shards_can_be_packed_again(corpus: Path, tmp_path: Path) -> None:
    assert run(corpus / "train.jsonl", "-o", tmp_path / "one").exit_code == 0
    assert run(tmp_path / "one" / "manifest.jsonl", "-o", tmp_path / "two", "--format", "flac").exit_code == 0
    sizes = [(tmp_path / name / "shard-000000.tar").stat().st_size for name in ("one", "two")]
    assert sizes[1] < sizes[0]


def test_unusable_audio_is_exit_code_2(corpus: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    lines = (corpus / "train.jsonl").read_text().splitlines()[:2]
    manifest.write_text(lines[0].replace('"audio": "', f'"audio": "{corpus}/') + "\n" + lines[1] + "\n")
    answer = run(manifest, "-o", tmp_path / "out")
    assert answer.exit_code == 2
    assert "does not exist" in answer.stderr
    assert "1 utterance left out" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "says where to write"),
        (["-o", "OUT", "--shard-mb", 0], "--shard-mb is 0"),
        (["-o", "OUT", "--format", "mp3"], "--format is 'mp3'"),
        (["-o", "OUT", "--verify"], "--verify writes nothing"),
        (["-o", "HERE"], "the manifest that would be written"),
    ],
)
def test_wrong_arguments(corpus: Path, tmp_path: Path, arguments: list[object], message: str) -> None:
    manifest = tmp_path / "here" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_text((corpus / "train.jsonl").read_text().replace('"audio": "', f'"audio": "{corpus}/'))
    places = {"OUT": tmp_path / "out", "HERE": tmp_path / "here"}
    answer = run(manifest, *(places.get(str(argument), argument) for argument in arguments))
    assert isinstance(answer.exception, InputError)
    assert message in str(answer.exception)
    assert manifest.exists()
