"""Form fields, where the routes' own tests do not reach."""

import httpx
import pytest
from tests.serving.route_server import Stand

from harken.serving.routes.fields import BadParameter, Fields, UnknownParameter, quoted


@pytest.mark.parametrize(("sent", "meant"), [("TRUE", True), ("1", True), ("on", True), ("No", False), ("0", False)])
def test_flags(sent: str, meant: bool) -> None:
    assert Fields({"stream": [sent]}).flag("stream") is meant


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_value_is_none(value: str) -> None:
    fields = Fields({"a": [value], "b[]": [value, "x"]})
    assert fields.text("a") is None
    assert not fields.given("a")
    assert fields.flag("a") is False
    assert fields.number("a", 0, 1) is None
    assert fields.many("b") == ("x",)


def test_lists_come_with_and_without_brackets() -> None:
    fields = Fields({"a": ["1"], "a[]": ["2", "1"]})
    assert fields.many("a") == ("1", "2", "1")
    assert fields.choices("a", ("1", "2")) == ("1", "2")
    fields.only(("a",))
    with pytest.raises(UnknownParameter):
        fields.only(("b",))


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", "1.01", "-0.001", "0x1", ""])
def test_numbers(value: str) -> None:
    fields = Fields({"temperature": [value]})
    if value:
        with pytest.raises(BadParameter, match="0 to 1"):
            fields.number("temperature", 0, 1)
    else:
        assert fields.number("temperature", 0, 1) is None


def test_what_was_sent_is_quoted_short_and_without_control_characters() -> None:
    assert quoted("a\r\nb\0\x1b[31m\u202e\ud800") == r"'a\r\nb\x00\x1b[31m\u202e\ud800'"
    assert len(quoted("x" * 10_000)) < 80


def test_a_charset_is_not_the_clients_choice(tmp_path_factory: pytest.TempPathFactory) -> None:
    """UTF-7 could write a lone surrogate, which no answer, database or model can take: fields are UTF-8."""
    stand = Stand(spool=tmp_path_factory.mktemp("spool"))
    parts = [(b"prompt", b"a+2AA-"), (b'file"; filename="a', b"sound")]
    body = b"".join(b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts)
    kind = "multipart/form-data; boundary=b; charset=utf-7"
    with stand.running() as url:
        answer = httpx.post(f"{url}/transcribe", content=body + b"--b--\r\n", headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert stand.service.options.prompt == "a+2AA-"


@pytest.mark.parametrize("value", ["a\0b", "a\ud800"])
def test_what_is_no_text(value: str) -> None:
    with pytest.raises(BadParameter, match="prompt holds what is not text"):
        Fields({"prompt": [value]}).text("prompt")
