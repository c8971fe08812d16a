import gzip
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.core import Utterance
from harken.data.manifest import ManifestError, check_manifest, iterate_manifest, read_manifest, write_manifest
from harken.data.manifest_line import is_url, local_file, relative_audio, resolve_audio

LINE = {"id": "a", "audio": "a.wav", "duration_s": 1.5, "text": "hello"}


def save(path: Path, *lines: object, end: str = "\n") -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + end for line in lines)
    path.write_bytes(text.encode())
    return path


def test_reads_every_key_and_keeps_the_unknown_ones(tmp_path: Path) -> None:
    line = {
        **LINE, "offset_s": 0.25, "speaker": "s", "language": "en", "recording": "r", "tags": {"split": "train"},
        "score": [1, {"x": None}],
    }  # fmt: skip
    assert read_manifest(save(tmp_path / "m.jsonl", line)) == [
        Utterance(
            id="a", audio=str(tmp_path / "a.wav"), duration_s=1.5, text="hello", offset_s=0.25, speaker="s",
            language="en", recording="r", tags={"split": "train"}, extra={"score": [1, {"x": None}]},
        )
    ]  # fmt: skip


def test_writing_gives_back_what_reading_took_in_a_fixed_order(tmp_path: Path) -> None:
    shuffled = {
        "zeta": 1,
        "tags": {"b": "2", "a": "1"},
        "text": "oʻzbek",
        "alpha": 2,
        "duration_s": 2,
        "audio": "x/a.flac",
    }
    utterances = read_manifest(save(tmp_path / "in.jsonl", {**shuffled, "id": "u"}))
    write_manifest(tmp_path / "out.jsonl", utterances)
    expected = (
        '{"id": "u", "audio": "x/a.flac", "duration_s": 2.0, "text": "oʻzbek", "tags": {"a": "1", "b": "2"}, '
        '"alpha": 2, "zeta": 1}\n'
    )
    assert (tmp_path / "out.jsonl").read_bytes() == expected.encode()
    assert read_manifest(tmp_path / "out.jsonl") == utterances


def test_a_folder_can_be_moved_with_its_manifest(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    inside = Utterance(id="in", audio=str(old / "audio" / "a.wav"), duration_s=1.0)
    outside = Utterance(id="out", audio=str(tmp_path / "old-other" / "b.wav"), duration_s=1.0)
    remote = Utterance(id="url", audio="s3://bucket/c.wav", duration_s=1.0)
    shard = Utterance(id="tar", audio=f"tar:{old}/shards/0.tar!d.wav", duration_s=1.0)
    write_manifest(old / "m.jsonl", [inside, outside, remote, shard])
    old.rename(tmp_path / "new")
    assert [item.audio for item in read_manifest(tmp_path / "new" / "m.jsonl")] == [
        str(tmp_path / "new" / "audio" / "a.wav"),
        str(tmp_path / "old-other" / "b.wav"),
        "s3://bucket/c.wav",
        f"tar:{tmp_path}/new/shards/0.tar!d.wav",
    ]


def test_nemo_names_are_read_and_a_missing_id_comes_from_path_and_offset(tmp_path: Path) -> None:
    path = save(
        tmp_path / "nemo.json",
        {"audio_filepath": "wavs/a.wav", "duration": 3, "text": "x", "speaker": 17},
        {"audio_filepath": "wavs/a.wav", "duration": 2.0, "offset": 3.5},
        {"audio_filepath": "/abs/b.wav", "duration": 1, "id": 5},
    )
    found = read_manifest(path)
    assert [(item.id, item.audio, item.duration_s, item.offset_s) for item in found] == [
        ("wavs/a", str(tmp_path / "wavs/a.wav"), 3.0, 0.0),
        ("wavs/a@3.500", str(tmp_path / "wavs/a.wav"), 2.0, 3.5),
        ("5", "/abs/b.wav", 1.0, 0.0),
    ]
    assert (found[0].speaker, found[0].text, found[1].text) == ("17", "x", None)


def test_byte_order_mark_windows_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines = [
        "\ufeff" + json.dumps(LINE),
        "",
        "   ",
        json.dumps({**LINE, "id": "b", "text": "x\u2028y"}, ensure_ascii=False),
    ]
    path.write_bytes("\r\n".join(lines).encode())  # no line end after the last
    assert [(item.id, item.text) for item in read_manifest(path)] == [("a", "hello"), ("b", "x\u2028y")]


def test_compressed_manifests_are_read_and_written_with_stable_bytes(tmp_path: Path) -> None:
    utterances = read_manifest(save(tmp_path / "m.jsonl", LINE))
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_manifest(tmp_path / name, utterances)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert json.loads(gzip.decompress((tmp_path / "one.jsonl.gz").read_bytes())) == LINE
    assert read_manifest(tmp_path / "one.jsonl.gz") == utterances
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "one.jsonl.gz").read_bytes()[:-9])
    with pytest.raises(ManifestError, match=r"cut\.jsonl\.gz cannot be read"):
        read_manifest(tmp_path / "cut.jsonl.gz")


BAD_LINES = [
    ("nonsense", "", "not JSON: expecting value at column 1"),
    ("[1]", "", "holds an array; write one JSON object per line"),
    ("null", "", "holds null"),
    ("3", "", "holds a number"),
    ('{"id": "a"', "", "not JSON"),
    ("[" * 100_000, "", "nested too deeply"),
    ('{"id": "a", "audio": "a.wav", "duration_s": NaN}', "", "NaN is not a JSON number"),
    ({"audio": "a.wav", "duration_s": 1}, "id", "is missing"),
    ({**LINE, "id": ""}, "id", 'is ""'),
    ({**LINE, "id": True}, "id", "is true"),
    ({"id": "a", "duration_s": 1}, "audio", "is missing"),
    ({**LINE, "audio": ""}, "audio", "is ''"),
    ({**LINE, "audio": 7}, "audio", "is 7"),
    ({**LINE, "audio": "a\0b"}, "audio", "is 'a\\x00b'"),
    ({"id": "a", "audio": "a.wav"}, "duration_s", "is missing"),
    ({**LINE, "duration_s": "1.5"}, "duration_s", 'is "1.5"'),
    ({**LINE, "duration_s": 0}, "duration_s", "is 0"),
    ({**LINE, "duration_s": -1.0}, "duration_s", "is -1.0"),
    ({**LINE, "duration_s": True}, "duration_s", "is true"),
    ('{"id": "a", "audio": "a.wav", "duration_s": 1e999}', "duration_s", "is Infinity"),
    ('{"id": "a", "audio": "a.wav", "duration_s": 1' + "0" * 400 + "}", "duration_s", "is 1000"),
    ('{"id": "a", "audio": "a.wav", "duration_s": 1' + "0" * 5000 + "}", "", "not JSON"),
    ({**LINE, "duration": 2}, "duration_s", "is given twice, as 'duration_s' and as 'duration'"),
    ({**LINE, "offset_s": -0.1}, "offset_s", "is -0.1"),
    ({"id": "a", "audio": "a.wav", "duration": 1, "offset": "x"}, "offset", 'is "x"'),
    ({**LINE, "text": ["a"]}, "text", 'is ["a"]'),
    ({**LINE, "language": 3}, "language", "is 3"),
    ({**LINE, "tags": ["a"]}, "tags", 'is ["a"]'),
    ({**LINE, "tags": {"snr": 10}}, "tags.snr", "is 10"),
    ('{"id": "a", "audio": "a.wav", "duration_s": 1, "text": "\\ud800"}', "text", "half of a surrogate pair"),
]


@pytest.mark.parametrize(("line", "key", "message"), BAD_LINES)
def test_a_bad_line_is_named_by_file_line_and_key(tmp_path: Path, line: object, key: str, message: str) -> None:
    path = save(tmp_path / "m.jsonl", {**LINE, "id": "good"}, line)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(path), 2, key)
    assert message in str(caught.value)
    assert f"{path}, line 2: {key}" in str(caught.value)
    assert [(problem.line, problem.key) for problem in check_manifest(path)] == [(2, key)]
    with pytest.raises(ManifestError):
        list(iterate_manifest(path))


def test_text_that_is_not_utf8_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(json.dumps(LINE).encode() + b"\n" + '{"id": "ü"}'.encode("latin-1"))
    assert [str(problem) for problem in check_manifest(path)] == [
        f"{path}, line 2: byte 9 is not UTF-8 text; save the file as UTF-8"
    ]


def test_check_lists_all_problems_of_all_lines(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.jsonl", {"id": 1.5, "duration_s": -1, "speaker": []}, "?", LINE, LINE, {**LINE, "tags": 1}
    )
    assert [(problem.line, problem.key) for problem in check_manifest(path)] == [
        (1, "audio"), (1, "id"), (1, "duration_s"), (1, "speaker"), (2, ""), (4, "id"), (5, "tags"),
    ]  # fmt: skip


def test_an_id_used_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = save(tmp_path / "m.jsonl", LINE, "", {**LINE, "audio": "b.wav"})
    with pytest.raises(ManifestError, match=r"line 3: id: 'a' is used already in line 1"):
        read_manifest(path)
    assert len(list(iterate_manifest(path))) == 2


@pytest.mark.parametrize("content", ["", "\n \r\n", "\ufeff"])
def test_an_empty_manifest_is_refused_unless_allowed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(content.encode())
    with pytest.raises(ManifestError, match="holds no utterances"):
        read_manifest(path)
    assert read_manifest(path, allow_empty=True) == []
    assert check_manifest(path) == []


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(ManifestError, match="is a folder"):
        check_manifest(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "m.jsonl", LINE)
    before = path.read_bytes()
    good = Utterance(id="x", audio="/x.wav", duration_s=1.0)
    for bad, message in [
        (good, "'x' is used already in line 1"),
        (Utterance(id="y", audio="/y.wav", duration_s=1.0, extra={"n": float("nan")}), "cannot be written"),
        (Utterance(id="y", audio="/y.wav", duration_s=1.0, extra={"o": object()}), "cannot be written"),
        (Utterance(id="y", audio="/y.wav", duration_s=1.0, extra={"duration": 2}), "the name of a manifest key"),
        (Utterance(id="y", audio="/y.wav", duration_s=1.0, text="\ud800"), "cannot be written"),
    ]:
        with pytest.raises(ManifestError, match=message):
            write_manifest(path, [good, bad])
        assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.jsonl"]


def test_utterances_and_errors_survive_pickling(tmp_path: Path) -> None:
    utterances = read_manifest(save(tmp_path / "m.jsonl", LINE))
    assert pickle.loads(pickle.dumps(utterances)) == utterances
    error = pickle.loads(pickle.dumps(ManifestError("bad.", file="f", line=3, key="id", hint="fix it.")))
    assert (str(error), error.file, error.line, error.key, error.hint) == ("bad. fix it.", "f", 3, "id", "fix it.")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a.wav", "/m/a.wav"),
        ("./b/../a.wav", "/m/a.wav"),
        ("../x/a.wav", "/x/a.wav"),
        ("b//a.wav", "/m/b/a.wav"),
        ("/abs/a.wav", "/abs/a.wav"),
        ("s3://b/./a.wav", "s3://b/./a.wav"),
        ("tar:0.tar!x/a.wav", "tar:/m/0.tar!x/a.wav"),
        ("tar:s3://b/0.tar!x/a.wav", "tar:s3://b/0.tar!x/a.wav"),
        ("c:a.wav", "/m/c:a.wav"),
        (".hidden.wav", "/m/.hidden.wav"),
    ],
)
def test_audio_paths(written: str, read: str) -> None:
    assert resolve_audio(written, "/m") == read
    assert resolve_audio(relative_audio(read, "/m"), "/m") == read


def test_urls_and_local_files() -> None:
    assert [is_url(name) for name in ("s3://a", "tar:a!b", "/a", "a:b.wav", "C:/a")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert local_file("/a/b.wav") == Path("/a/b.wav")
    assert local_file("tar:/a/0.tar!x") == Path("/a/0.tar")
    assert local_file("tar:s3://a/0.tar!x") is None
    assert local_file("https://a/b.wav") is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KNOWN = {"id", "audio", "duration_s", "text", "offset_s", "speaker", "language", "recording", "tags"}
NEMO = {"audio_filepath", "duration", "offset"}
names = st.text(min_size=1).filter(lambda text: "\0" not in text)


@given(
    identifier=st.text(min_size=1),
    duration=st.floats(min_value=1e-6, max_value=1e6),
    offset=st.floats(min_value=0, max_value=1e6),
    text=st.none() | st.text(),
    speaker=st.none() | st.text(min_size=1),
    tags=st.dictionaries(st.text(max_size=5), st.text(), max_size=3),
    extra=st.dictionaries(st.text(max_size=5).filter(lambda key: key not in KNOWN | NEMO), json_values, max_size=3),
)
def test_every_utterance_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, identifier: str, duration: float, offset: float, text: str | None,
    speaker: str | None, tags: dict[str, str], extra: dict[str, object],
) -> None:  # fmt: skip
    folder = tmp_path_factory.getbasetemp()
    utterance = Utterance(
        id=identifier, audio=str(folder / "a.wav"), duration_s=duration, offset_s=offset, text=text, speaker=speaker,
        tags=tags, extra=extra,
    )  # fmt: skip
    write_manifest(folder / "property.jsonl", [utterance])
    assert read_manifest(folder / "property.jsonl") == [utterance]


@given(line=st.dictionaries(st.sampled_from(sorted(KNOWN | NEMO | {"other"})), json_values))
def test_any_object_is_either_an_utterance_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, line: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps(line))
    problems = check_manifest(path)
    if problems:
        with pytest.raises(ManifestError):
            read_manifest(path)
    else:
        assert len(read_manifest(path)) == 1
