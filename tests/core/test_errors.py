"""The error tree: messages, hints, exit codes, and the way home from a worker process."""

import multiprocessing
import pickle
from pathlib import Path

import pytest

from harken.core import HarkenError, InputError, MissingPart, RunFailed, ServiceRefused, load_yaml


class DemandingError(InputError):
    """A narrow child whose __init__ takes other arguments than its parent's."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"{path}:{line} is wrong.", hint="Fix it.")
        self.path = path
        self.line = line


def test_text_is_message_and_hint() -> None:
    error = HarkenError("It broke.", hint="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert (error.message, error.hint) == ("It broke.", "Mend it.")


def test_no_hint_leaves_no_space() -> None:
    assert str(HarkenError("It broke.")) == "It broke."
    assert HarkenError("It broke.").hint == ""


@pytest.mark.parametrize(
    ("kind", "code"), [(HarkenError, 1), (InputError, 2), (MissingPart, 3), (RunFailed, 4), (ServiceRefused, 5)]
)
def test_each_family_has_its_exit_code(kind: type[HarkenError], code: int) -> None:
    assert kind("x").exit_code == code
    assert issubclass(kind, HarkenError)


def test_families_do_not_contain_each_other() -> None:
    families = (InputError, MissingPart, RunFailed, ServiceRefused)
    assert not any(issubclass(a, b) for a in families for b in families if a is not b)


@pytest.mark.parametrize("kind", [HarkenError, InputError, MissingPart, RunFailed, ServiceRefused])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_type_text_and_hint(kind: type[HarkenError], protocol: int) -> None:
    back = pickle.loads(pickle.dumps(kind("It broke.", hint="Mend it."), protocol))
    assert type(back) is kind
    assert str(back) == "It broke. Mend it."  # a rebuild from the joined text would say the hint twice
    assert (back.message, back.hint, back.exit_code) == ("It broke.", "Mend it.", kind.exit_code)


def test_pickling_keeps_the_attributes_of_a_child_with_other_arguments() -> None:
    back = pickle.loads(pickle.dumps(DemandingError(Path("a.jsonl"), 7)))
    assert type(back) is DemandingError
    assert (back.path, back.line, str(back)) == (Path("a.jsonl"), 7, "a.jsonl:7 is wrong. Fix it.")


def test_notes_survive_pickling() -> None:
    error = InputError("x")
    error.add_note("while reading b.wav")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while reading b.wav"]


def test_an_error_crosses_a_process_boundary(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(InputError) as caught:
        pool.apply(load_yaml, (absent,))
    assert str(caught.value) == f"{absent} does not exist. Check the path."
    assert caught.value.hint == "Check the path."
