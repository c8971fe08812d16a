"""Mistakes at the command line: one line that names the file or value, the exit code of its family, nothing changed."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from .conftest import Harken, run_harken

Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def prepared(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything a command could want, and with files it cannot use."""
    desk = tmp_path_factory.mktemp("desk")
    shutil.copytree(corpus, desk, dirs_exist_ok=True)
    shutil.copytree(model, desk / "model")
    lines = (desk / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "bad.jsonl").write_text("".join([*lines[:3], '{"id": "x", "audio": 3}\n', *lines[3:]]), encoding="utf-8")
    (desk / "gone.jsonl").write_text("".join(lines).replace('"audio": "', '"audio": "gone-'), encoding="utf-8")
    (desk / "empty.jsonl").touch()
    (desk / "empty.yaml").touch()
    for name in ("garbage.jsonl", "garbage.yaml", "garbage.tsv"):
        (desk / name).write_bytes(b"\x93\xfa\x00\xc3(" * 40)
    (desk / "folder").mkdir()
    (desk / "folder" / "manifest.jsonl").write_text("mine\n", encoding="utf-8")
    (desk / "folder" / "shard-000000.tar").write_text("mine too\n", encoding="utf-8")
    recipe = (desk / "recipe.yaml").read_text(encoding="utf-8") + "augmentation: {noise: {probability: 1}}\n"
    (desk / "noisy.yaml").write_text(recipe, encoding="utf-8")
    (desk / "bad-data.yaml").write_text(recipe.replace("train.jsonl", "bad.jsonl"), encoding="utf-8")
    (desk / "no-data.yaml").write_text(recipe.replace("train.jsonl", "absent.jsonl"), encoding="utf-8")
    (desk / "space.yaml").write_text("parameters: {optimizer.learning_rate: {choices: [0.01]}}\ntrials: 1\n")
    (desk / "misspelled.yaml").write_text("parameters: {optimizer.learning_rat: {choices: [0.01]}}\n")
    (desk / "negative.yaml").write_text("parameters: {optimizer.learning_rate: {choices: [-1]}}\n")
    (desk / "texts.tsv").write_text("".join(f"clip-{n:02d}\tone\n" for n in range(12)), encoding="utf-8")
    (desk / "few.tsv").write_text("clip-00\tone\n", encoding="utf-8")
    shutil.copytree(desk / "model", desk / "no-card")
    (desk / "no-card" / "README.md").write_bytes(b"\x93\xfa\x00")
    shutil.copytree(desk / "model", desk / "changed")
    with open(desk / "changed" / "model.safetensors", "ab") as file:
        file.write(b"x")
    for command in (
        ["score", "train.jsonl", "texts.tsv", "-o", "report", "--no-phonemes"],
        ["data", "shard", "train.jsonl", "-o", "shards"],
    ):
        assert run_harken(*command, folder=desk).code == 0
    shutil.copytree(desk / "report", desk / "damaged")
    (desk / "damaged" / "report.json").write_bytes(b"\x93\xfa\x00")
    for name, listing in (("listing", '{"layout": 1, "shards": 3}'), ("no-json", "{")):
        shutil.copytree(desk / "shards", desk / name)
        (desk / name / "shards.json").write_text(listing, encoding="utf-8")
    return desk


@pytest.fixture
def desk(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    monkeypatch.setenv("HARKEN_HOME", str(prepared / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return prepared


def contents(folder: Path) -> Contents:
    """Every file below `folder`, the registry's database left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and "home" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(harken: Harken, desk: Path, command: str, code: int, *messages: str) -> Any:
    before = contents(desk)
    answer = harken(*command.split())
    assert (answer.code, answer.out) == (code, ""), answer.err
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    for message in messages:
        assert message in answer.err
    assert contents(desk) == before
    return answer


MANIFESTS = [
    ("absent.jsonl", "absent.jsonl does not exist."),
    ("empty.jsonl", "empty.jsonl holds no utterances."),
    ("garbage.jsonl", "garbage.jsonl, line 1: byte 1 is not UTF-8 text"),
    ("folder", "folder is a folder. Name the .jsonl file inside it."),
    ("bad.jsonl", "bad.jsonl, line 4: audio: is 3;"),
]


@pytest.mark.parametrize(("manifest", "message"), MANIFESTS)
@pytest.mark.parametrize(
    "command",
    [
        "data shard {} -o new",
        "data augment {} -o new --condition clipping",
        "data split {} -o new",
        "score {} texts.tsv",
    ],
)
def test_manifests(harken: Harken, desk: Path, command: str, manifest: str, message: str) -> None:
    refused(harken, desk, command.format(manifest), 2, message)
    assert not (desk / "new").exists()


RECIPES = [
    ("absent.yaml", "absent.yaml does not exist."),
    ("empty.yaml", "empty.yaml "),
    ("garbage.yaml", "garbage.yaml cannot be read as UTF-8 text"),
    ("folder", "folder "),
]


@pytest.mark.parametrize(("recipe", "message"), RECIPES)
@pytest.mark.parametrize("command", ["data preview {} -o new", "search {} space.yaml -o new", "search noisy.yaml {}"])
def test_recipes_and_spaces(harken: Harken, desk: Path, command: str, recipe: str, message: str) -> None:
    if command.startswith("search"):
        pytest.importorskip("optuna", reason="needs the extra `search`")
    refused(harken, desk, command.format(recipe), 2, message)
    assert not (desk / "new").exists()


@pytest.mark.parametrize(
    ("command", "messages"),
    [
        ("data preview bad-data.yaml -o new", ["bad.jsonl, line 4: audio: is 3"]),
        ("data preview no-data.yaml -o new", ["absent.jsonl"]),
        ("data preview noisy.yaml data.train=gone.jsonl -o new", ["gone-00.wav does not exist"]),
        ("data preview noisy.yaml -o new --count -1", ["is -1. Use 1 or more."]),
        ("data preview noisy.yaml -o new nonsense", ["'nonsense' is not an override. Write key=value"]),
        ("data preview noisy.yaml -o new augmentation.noize={}", ["augmentation.noize", "did you mean 'noise'?"]),
    ],
)
def test_preview(harken: Harken, desk: Path, command: str, messages: list[str]) -> None:
    refused(harken, desk, command, 2, *messages)
    assert not (desk / "new").exists()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            "misspelled.yaml",
            "misspelled.yaml: with optimizer.learning_rat=0.01, recipe.yaml: optimizer.learning_rat is",
        ),
        (
            "negative.yaml",
            "negative.yaml: with optimizer.learning_rate=-1, recipe.yaml: optimizer: learning_rate is -1",
        ),
    ],
)
def test_a_search_names_the_space_where_the_space_is_wrong(
    harken: Harken, desk: Path, space: str, message: str
) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    refused(harken, desk, f"search recipe.yaml {space} -o new", 2, message)
    answer = refused(harken, desk, f"search absent.yaml {space} -o new", 2)
    assert answer.err == "error: absent.yaml does not exist. Check the path.\n"


@pytest.mark.parametrize(
    "command",
    [
        "data preview noisy.yaml",
        "data shard train.jsonl",
        "data augment train.jsonl --condition clipping",
        "data split train.jsonl",
        "data compose train.jsonl",
    ],
)
@pytest.mark.parametrize("place", ["00.wav", "00.wav/new"])
def test_a_file_in_the_place_of_a_folder(harken: Harken, desk: Path, command: str, place: str) -> None:
    refused(harken, desk, f"{command} -o {place}", 2, f"--out is {place}, and 00.wav is a file. Name another folder.")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("data validate train.jsonl --out {}", "--out"),
        ("data validate train.jsonl --table {}.tsv", "--table"),
        ("data stats train.jsonl --picture {}.png", "--picture"),
        ("compare report report --markdown {}", "--markdown"),
    ],
)
def test_a_file_that_cannot_be_is_told_before_the_work(harken: Harken, desk: Path, command: str, option: str) -> None:
    refused(harken, desk, command.format("00.wav/x"), 2, f"{option} is 00.wav/x", "and 00.wav is a file.")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("data shard train.jsonl -o folder", "folder/shard-000000.tar is no shard of Harken's. Choose another folder"),
        ("data shard train.jsonl -o listing", "listing has a shards.json that is damaged or not Harken's."),
        (
            "data shard gone.jsonl -o shards",
            "gone-00.wav is gone, and the shards in shards hold the audio of 'clip-00'",
        ),
        ("data shard gone.jsonl -o folder/new", "None of the 12 utterances could be used; clip-00: "),
        ("data augment train.jsonl -o folder --condition clipping", "folder/manifest.jsonl is there, and augmentation"),
        ("data split train.jsonl -o .", "train.jsonl is the manifest that would be written."),
    ],
)
def test_what_is_there_stays(harken: Harken, desk: Path, command: str, message: str) -> None:
    refused(harken, desk, command, 2, message)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("absent", "absent does not exist. Name a folder that `harken data shard` has written."),
        ("train.jsonl", "train.jsonl is a file, not a folder of shards."),
        ("folder", "folder has no readable shards.json: no such file or directory."),
        ("no-json", "no-json has no readable shards.json: it is not JSON."),
        ("listing", "listing/shards.json is damaged, or of another layout. Write the shards again."),
    ],
)
def test_verify(harken: Harken, desk: Path, folder: str, message: str) -> None:
    refused(harken, desk, f"data shard {folder} --verify", 2, message)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("models list --dir absent", 3, "absent does not exist. Name the folder of your runs with --dir."),
        ("models list --dir 00.wav", 3, "00.wav is a file, not a folder. Name the folder of your runs with --dir."),
        ("models list --uri nonsense", 2, "--uri is 'nonsense'. Use a server (https://"),
        ("models show 00.wav", 3, "00.wav is a file, not a model folder."),
        ("models show folder", 3, "folder is not a model folder: it has no harken.json."),
        ("models register folder x", 3, "folder is not a model folder: it has no harken.json."),
        ("models register changed x", 2, "changed/model.safetensors is not what harken.json was written for"),
        ("models push absent a/b", 3, "absent is not a model folder"),
        ("models push model a/b", 3, "needs an access token"),
        ("models push model a/b/c", 2, "'a/b/c' is no name for a repository. Write NAME or OWNER/NAME"),
        ("models push model a/b/c --dry-run", 2, "'a/b/c' is no name for a repository."),
        ("models push model a/b --endpoint hub", 2, "--endpoint is 'hub'. Use an address such as https://"),
        ("models push no-card a/b --dry-run", 2, "no-card/README.md has no front matter"),
        ("models push changed a/b --dry-run", 2, "changed/model.safetensors is not what harken.json was written for"),
    ],
)
def test_models(harken: Harken, desk: Path, command: str, code: int, message: str) -> None:
    refused(harken, desk, command, code, message)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("score train.jsonl absent.tsv", 2, "absent.tsv does not exist."),
        ("score train.jsonl empty.jsonl", 2, "empty.jsonl has no lines."),
        ("score train.jsonl garbage.tsv", 2, "garbage.tsv cannot be read"),
        ("score train.jsonl folder", 2, "folder cannot be read"),
        ("score train.jsonl few.tsv", 2, "few.tsv has no text for 11 of 12 utterances, the first is 'clip-01'."),
        ("score train.jsonl texts.tsv --normalizer nope", 2, "normalizer is 'nope'; use one of: basic, "),
        ("score train.jsonl texts.tsv --missing nope", 2, "--missing is 'nope'. Use error or deletions."),
        ("score train.jsonl texts.tsv --samples 0", 2, "samples is 0; use 1 or more."),
        ("score train.jsonl texts.tsv --keywords absent", 2, "absent does not exist."),
        ("score train.jsonl texts.tsv --identifier absent", 3, "absent does not exist."),
        ("score train.jsonl texts.tsv --baseline folder", 3, "folder holds no report.json."),
        ("score train.jsonl texts.tsv -o 00.wav", 2, "No report can be written to 00.wav: file exists."),
        ("compare report absent", 3, "absent does not exist. Make a report first"),
        ("compare report 00.wav", 2, "00.wav is not an evaluation report."),
        ("compare report folder", 3, "folder holds no report.json."),
        ("compare report damaged", 2, "damaged/report.json cannot be read"),
        ("compare report report --max-regression -1", 2, "max_regression is -1.0; use points of WER, 0 or more."),
        ("compare report report --slices nope", 2, "There is no slice 'nope'. Use some of: "),
        ("compare report report --unit nope", 2, "unit is 'nope'"),
        ("compare report report --markdown folder", 2, "--markdown is folder, and folder is a folder."),
        ("compare report --markdown x.md", 2, "--markdown is about a comparison, and there is one report."),
        ("data augment train.jsonl -o new --set noise.probability=-1", 2, "probability is -1.0; use 0 to 1."),
        ("data augment train.jsonl -o new --condition clipping --copies -1", 2, "--copies is -1. Use 1 or more."),
        ("data shard train.jsonl -o new --shard-mb -1", 2, "--shard-mb is -1.0. Use megabytes above 0."),
    ],
)
def test_texts_reports_and_numbers(harken: Harken, desk: Path, command: str, code: int, message: str) -> None:
    refused(harken, desk, command, code, message)
    assert not (desk / "new").exists()


def test_a_search_without_a_finished_trial_is_a_failure(harken: Harken, desk: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra `search`")
    answer = harken("search", "no-data.yaml", "space.yaml", "-o", tmp_path / "found")
    assert answer.code in (2, 4)
    assert str(desk / "absent.jsonl") in answer.err.splitlines()[-1]
    assert answer.err.splitlines()[-1].startswith("error: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("command", ["data shard train.jsonl", "data augment train.jsonl --condition clipping"])
def test_a_folder_without_permission(harken: Harken, desk: Path, tmp_path: Path, command: str) -> None:
    tmp_path.chmod(0o555)
    try:
        refused(harken, desk, f"{command} -o {tmp_path}/new", 2, f"{tmp_path} cannot be written to.")
    finally:
        tmp_path.chmod(0o755)
