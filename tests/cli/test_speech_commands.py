"""`harken transcribe` and `models show`: one bad file stops nothing, stdout holds results only."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harken = Callable[..., Any]


# transcribe


def test_one_file_is_printed_as_it_is(harken: Harken, corpus: Path, model: Path) -> None:
    answer = harken("transcribe", corpus / "00.wav", "--model", model)
    assert answer.code == 0
    assert answer.out.count("\n") == 1
    assert "00.wav" not in answer.out
    assert "error" not in answer.err


@pytest.mark.parametrize("style", ["txt", "json", "srt", "vtt", "tsv"])
def test_every_format(harken: Harken, corpus: Path, model: Path, style: str) -> None:
    from harken.inference import load, render

    answer = harken("transcribe", corpus / "03.wav", "-m", model, "-f", style)
    assert answer.code == 0
    assert answer.out == render(load(model).transcribe(corpus / "03.wav"), style)


def test_a_broken_file_among_good_ones_is_reported_and_the_others_go_on(
    harken: Harken, corpus: Path, model: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio", encoding="utf-8")
    files = [corpus / "00.wav", broken, tmp_path / "absent.wav", corpus / "01.wav"]
    answer = harken("transcribe", *files, "-m", model)
    assert answer.code == 2
    assert [line.split("\t")[0] for line in answer.out.splitlines()] == [str(files[0]), str(files[3])]
    assert f"error: {broken} is not audio of a known kind" in answer.err
    assert "absent.wav does not exist" in answer.err
    assert answer.err.endswith("2 files of 4 could not be transcribed.\n")


def test_json_lines_name_their_files(harken: Harken, corpus: Path, model: Path) -> None:
    files = [corpus / "00.wav", corpus / "01.wav"]
    answer = harken("transcribe", *files, "-m", model, "--json")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in files]
    assert [line["duration_s"] for line in lines] == [0.5, 8700 / 16_000]
    assert harken("transcribe", files[0], "-m", model, "--json").json["duration_s"] == 0.5


def test_transcripts_into_a_folder(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    answer = harken(
        "transcribe", corpus / "00.wav", corpus / "01.wav", "-m", model, "-f", "srt", "--out", tmp_path / "o"
    )
    assert (answer.code, answer.out) == (0, "")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["00.srt", "01.srt"]


def test_two_transcripts_never_share_a_file(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    shutil.copy(corpus / "00.wav", tmp_path / "00.wav")
    answer = harken("transcribe", corpus / "00.wav", tmp_path / "00.wav", "-m", model, "--out", tmp_path / "o")
    assert (answer.code, answer.out) == (2, "")
    assert "would both be written to" in answer.err
    assert "another folder for --out" in answer.err
    assert not (tmp_path / "o").exists()


def test_a_folder_keeps_its_subfolders(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    for name in ("a/x.wav", "b/c/x.wav", "b/x.1.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus / "00.wav", tmp_path / "in" / name)
    out = tmp_path / "o"
    command = ("transcribe", tmp_path / "in", corpus / "01.wav", "-m", model, "--out", out)
    assert harken(*command).code == 0
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert written == ["01.txt", "a/x.txt", "b/c/x.txt", "b/x.1.txt"]
    (out / "b/c/x.txt").unlink()
    again = harken(*command, "--resume")
    assert again.code == 0
    assert "3 files of 4 have a transcript already." in again.err
    assert (out / "b/c/x.txt").is_file()


def test_a_file_named_again_beside_its_folder_gets_both_transcripts(
    harken: Harken, corpus: Path, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "in" / "a" / "x.wav"
    file.parent.mkdir(parents=True)
    shutil.copy(corpus / "00.wav", file)
    assert harken("transcribe", file, tmp_path / "in", "-m", model, "--out", tmp_path / "o").code == 0
    assert (tmp_path / "o" / "x.txt").read_text() == (tmp_path / "o" / "a" / "x.txt").read_text()


def test_transcripts_that_are_there_are_left_out(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    files = [corpus / "00.wav", corpus / "01.wav"]
    (tmp_path / "00.txt").write_text("done before", encoding="utf-8")
    answer = harken("transcribe", *files, "-m", model, "--out", tmp_path, "--resume")
    assert answer.code == 0
    assert "1 file of 2 have a transcript already." in answer.err
    assert (tmp_path / "00.txt").read_text(encoding="utf-8") == "done before"
    assert (tmp_path / "01.txt").is_file()
    again = harken("transcribe", *files, "-m", model, "--out", tmp_path, "--resume")
    assert (again.code, again.out) == (0, "")
    assert "2 files of 2 have a transcript already." in again.err


def test_a_folder_stands_for_its_audio_files(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name, target in (("01.wav", "b.wav"), ("00.wav", "below/a.wav")):
        shutil.copy(corpus / name, tmp_path / target)
    (tmp_path / "notes.txt").write_text("no audio", encoding="utf-8")
    answer = harken("transcribe", tmp_path, "-m", model)
    assert answer.code == 0
    assert sorted(line.split("\t")[0] for line in answer.out.splitlines()) == [
        str(tmp_path / "b.wav"), str(tmp_path / "below" / "a.wav")
    ]  # fmt: skip
    (tmp_path / "none").mkdir()
    empty = harken("transcribe", tmp_path / "none", "-m", model)
    assert (empty.code, empty.out) == (2, "")
    assert "none holds no audio files" in empty.err


def test_tidy_sentences(harken: Harken, corpus: Path, model: Path) -> None:
    plain = harken("transcribe", corpus / "03.wav", "-m", model).out
    tidy = harken("transcribe", corpus / "03.wav", "-m", model, "--tidy").out
    assert tidy == plain[:1].upper() + plain[1:]
    data = harken("transcribe", corpus / "03.wav", "-m", model, "--tidy", "--json").json
    assert data["text"] == tidy.strip()


@pytest.mark.parametrize("style", ["srt", "vtt", "tsv"])
def test_tidy_subtitles_and_tables(harken: Harken, corpus: Path, model: Path, style: str) -> None:
    plain, tidy = (harken("transcribe", corpus / "03.wav", "-m", model, "-f", style, *more).out.splitlines()
                   for more in ((), ("--tidy",)))  # fmt: skip
    first, text = next((p, t) for p, t in zip(plain, tidy, strict=True) if p != t)
    said = first.split("\t")[-1]
    assert text == first.removesuffix(said) + said[:1].upper() + said[1:]


def test_a_wider_beam_and_hotwords(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    plain = harken("transcribe", corpus / "03.wav", "-m", model).out
    wide = harken("transcribe", corpus / "03.wav", "-m", model, "--beam", "5")
    assert wide.code == 0
    word = plain.split()[0]
    (tmp_path / "words").write_text(f"{word}\n", encoding="utf-8")
    boosted = harken("transcribe", corpus / "03.wav", "-m", model, "--hotwords", tmp_path / "words")
    assert word in boosted.out.split()
    (tmp_path / "words").write_text("ŋŋŋ\n", encoding="utf-8")
    wrong = harken("transcribe", corpus / "03.wav", "-m", model, "--hotwords", tmp_path / "words")
    assert wrong.code == 2
    assert "ŋŋŋ" in wrong.err


def test_a_folder_that_cannot_be_made(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    answer = harken("transcribe", corpus / "00.wav", "-m", model, "--out", tmp_path / "file" / "o")
    assert (answer.code, answer.out) == (4, "")
    assert str(tmp_path / "file") in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-f", "doc"], 2, "--format is 'doc'. Use one of txt, json, srt, vtt, tsv."),
        (["--device", "gpu"], 2, "device is 'gpu'. Use auto, cpu, cuda or cuda:N."),
        (["--device", "cuda:99"], 3, "device is 'cuda:99', but PyTorch sees"),
        (["--resume"], 2, "--resume needs --out."),
        (["--engine", "tensorflow"], 3, "no harken.engines called 'tensorflow'"),
        (["--precision", "int8", "--engine", "torch"], 2, "precision is 'int8', and the torch engine computes in fp32"),
        (["--precision", "int4"], 2, "precision"),
        (["--threads", "0"], 2, "threads is 0; use 1 or more"),
        (["--beam", "0"], 2, "beam_size is 0; use 1 for greedy decoding, or more"),
        (["--lm-weight", "0.3"], 2, "lm_weight is 0.3, which does nothing without lm"),
        (["--lm", "absent.arpa"], 3, "absent.arpa"),
        (["--language", "uz"], 2, "language is 'uz', which this model cannot be told: it has a CTC output."),
        (["--word-times"], 2, "whisper.word_times is True, which does nothing here: this model has a CTC output."),
    ],
)
def test_odd_options(harken: Harken, corpus: Path, model: Path, arguments: list[str], code: int, message: str) -> None:
    answer = harken("transcribe", corpus / "00.wav", "-m", model, *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_folders_that_hold_no_model(harken: Harken, corpus: Path, model: Path, tmp_path: Path) -> None:
    for command in (["transcribe", corpus / "00.wav", "-m"], ["models", "show"]):
        absent = harken(*command, tmp_path / "absent")
        assert (absent.code, absent.out) == (3, "")
        assert "absent does not exist. Give the model/ folder of a finished run." in absent.err
        empty = harken(*command, tmp_path)
        assert empty.code == 3
        assert "is not a model folder: it has no harken.json" in empty.err
    shutil.copytree(model, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    damaged = harken("transcribe", corpus / "00.wav", "-m", tmp_path / "damaged")
    assert (damaged.code, damaged.out) == (2, "")
    assert "model.safetensors is not readable as safetensors" in damaged.err


# models


def test_models_show(harken: Harken, model: Path) -> None:
    answer = harken("models", "show", model)
    assert (answer.code, answer.err) == (0, "")
    facts = {line[:13].strip(): line[13:] for line in answer.out.splitlines()}
    assert facts["family"] == "recurrent-ctc"
    assert facts["sample rate"] == "16000 Hz"
    assert facts["output units"] == "3 (WordTokenizer) and the CTC blank"
    assert facts["run"] == json.loads((model.parent / "run.json").read_text())["id"]
    data = harken("models", "show", model, "--json").json
    assert data == json.loads((model / "harken.json").read_text(encoding="utf-8")) | {"sample_rate": 16_000}
    assert f"{data['parameters']:,}" == facts["parameters"]
    assert data["sample_rate_hz"] == 16_000
