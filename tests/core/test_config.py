"""Settings: what is refused where text enters, and how it is said."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from harken.core import InputError, Strict, apply_overrides, dump_settings, load_yaml, parse_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Vad(Strict):
    threshold: float = 0.5
    min_speech_s: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; use a probability from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Strict):
    name: str
    vad: Vad = field(default_factory=Vad)
    noise: Vad | None = None
    stages: tuple[Vad, ...] = ()
    folder: Path | None = None
    mode: Literal["fast", "exact"] = "fast"
    steps: int = 10


def test_nested_settings_and_numbers_written_as_text() -> None:
    parsed = parse_settings(Stream, {"name": "x", "vad": {"threshold": "0.4"}, "folder": "a/b"}, source="test")
    assert parsed == Stream(name="x", vad=Vad(threshold=0.4), folder=Path("a/b"))


def test_lists_of_settings() -> None:
    parsed = parse_settings(Stream, {"name": "x", "stages": [{"threshold": 0.1}, {}]}, source="test")
    assert parsed.stages == (Vad(threshold=0.1), Vad())


def test_dumping_and_parsing_are_inverse() -> None:
    settings = Stream(name="x", noise=Vad(threshold=0.25), stages=(Vad(), Vad(min_speech_s=1)), folder=Path("a"))
    dumped = dump_settings(settings)
    assert dumped["folder"] == "a"
    assert dumped["noise"] == {"threshold": 0.25, "min_speech_s": 0.25}
    assert parse_settings(Stream, dumped, source="test") == settings


REFUSED = [
    ({}, "name is missing"),
    ({"name": "x", "vda": {}}, "vda is not a setting; did you mean 'vad'?"),
    ({"name": "x", "vad": {"treshold": 1}}, "vad.treshold is not a setting; did you mean 'threshold'?"),
    ({"name": "x", "noise": {"treshold": 1}}, "noise.treshold is not a setting; did you mean 'threshold'?"),
    ({"name": "x", "stages": [{}, {"zzz": 1}]}, "stages.1.zzz is not a setting; known here:"),
    ({"name": "x", "vad": {"threshold": 1.5}}, "threshold is 1.5; use a probability from 0 to 1"),
    ({"name": "x", "steps": "many"}, "steps is 'many'; input should be a valid integer"),
    ({"name": "x", "steps": 1.5}, "steps is 1.5; input should be a valid integer"),
    ({"name": "x", "mode": "slow"}, "mode is 'slow'; input should be 'fast' or 'exact'"),
    ({"name": "x", "vad": 3}, "vad is 3;"),
    ([], "the settings is []"),
]


@pytest.mark.parametrize(("data", "words"), REFUSED)
def test_refusals_name_the_source_and_the_field(data: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_settings(Stream, data, source="recipe.yaml")
    assert str(caught.value).startswith("recipe.yaml: ")
    assert words in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_settings(Stream, {"steps": "many", "vad": {"treshold": 1}, "extra": 1}, source="r")
    text = str(caught.value)
    assert all(word in text for word in ("name is missing", "steps is 'many'", "vad.treshold", "extra is not"))


def test_the_name_of_the_field_is_said_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_settings(Stream, {"name": "x", "vad": {"threshold": 2}}, source="r")
    assert str(caught.value) == "r: vad: threshold is 2.0; use a probability from 0 to 1."


# YAML files


def test_yaml_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: ґанок\nvad: {threshold: 0.5}\n", encoding="utf-8")
    assert load_yaml(path) == {"name": "ґанок", "vad": {"threshold": 0.5}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1, 2", "is not valid YAML"),
        (b"a: 1\n b: 2\n", "line 2"),
        (b"- 1\n- 2\n", "holds list, not a mapping"),
        (b"", "is empty"),
        (b"just words", "holds str, not a mapping"),
        (b"\xff\xfe\x00a", "cannot be read as UTF-8 text"),
        (b"a: !!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_yaml(path)
    assert words in str(caught.value)
    assert "bad.yaml" in str(caught.value)


def test_yaml_that_is_absent_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a folder"):
        load_yaml(tmp_path)


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=1", {"a": 1, "b": {"c": 2}}),
        ("b.c=3", {"a": 0, "b": {"c": 3}}),
        ("b.d=[1, 2]", {"a": 0, "b": {"c": 2, "d": [1, 2]}}),
        ("x.y.z=true", {"a": 0, "b": {"c": 2}, "x": {"y": {"z": True}}}),
        ("a=", {"a": "", "b": {"c": 2}}),
        ("a=null", {"a": None, "b": {"c": 2}}),
        ("a=3e-4", {"a": 3e-4, "b": {"c": 2}}),
        ("a=1e3", {"a": 1000.0, "b": {"c": 2}}),
        ("a=hello", {"a": "hello", "b": {"c": 2}}),
        ("a=x=y", {"a": "x=y", "b": {"c": 2}}),
        ("a={c: 1}", {"a": {"c": 1}, "b": {"c": 2}}),
        (" a =1", {"a": 1, "b": {"c": 2}}),
    ],
)
def test_an_override_lands_where_its_key_says(override: str, expected: dict[str, object]) -> None:
    assert apply_overrides({"a": 0, "b": {"c": 2}}, [override]) == expected


def test_later_overrides_win_and_the_original_stays() -> None:
    original = {"a": {"b": 1}}
    assert apply_overrides(original, ["a.b=2", "a.b=3"]) == {"a": {"b": 3}}
    assert original == {"a": {"b": 1}}


def test_an_empty_block_in_the_file_can_be_filled() -> None:
    assert apply_overrides({"data": None}, ["data.path=x"]) == {"data": {"path": "x"}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("a", "is not an override"),
        ("=1", "is not an override"),
        ("a=[1", "not valid YAML"),
        ("a.b=1", "'a' is a value, not a block"),
    ],
)
def test_overrides_that_are_refused(override: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        apply_overrides({"a": 0}, [override])
    assert words in str(caught.value)


def test_a_misspelled_override_is_refused_by_the_settings() -> None:
    data = apply_overrides({"name": "x"}, ["vad.treshold=0.1"])
    with pytest.raises(InputError, match=r"vad\.treshold is not a setting; did you mean 'threshold'"):
        parse_settings(Stream, data, source="command line")
