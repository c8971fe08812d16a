"""Names of variables: those that set something, and the nearest one for those that do not."""

import pytest

from harken.core import InputError
from harken.serving.settings import ENVIRONMENT_PREFIX, ServeSettings
from harken.serving.variables import check_variable


@pytest.mark.parametrize(
    "name", ["PORT", "TLS", "TLS__KEY", "QUEUE__MAX_BATCH", "AUTH__JWT__AUDIENCE", "MODELS__ALIASES__FAST",
             "MODELS__MODELS", "DECODE__LIMITS__MAX_BYTES", "BODIES__LARGER"]
)  # fmt: skip
def test_names_that_set_something(name: str) -> None:
    check_variable(ENVIRONMENT_PREFIX + name, ServeSettings, prefix=ENVIRONMENT_PREFIX)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("PROT", "PORT"), ("LIMITS_RATE", "LIMITS__RATE"), ("LIMITS__RAET", "LIMITS__RATE"),
     ("QUEUE__MAXBATCH", "QUEUE__MAX_BATCH")],
)  # fmt: skip
def test_a_misspelled_one_is_told_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(InputError) as caught:
        check_variable(ENVIRONMENT_PREFIX + name, ServeSettings, prefix=ENVIRONMENT_PREFIX)
    said = f"HARKEN_SERVE_{name} is not a setting; did you mean HARKEN_SERVE_{meant}?"
    assert str(caught.value) == said


def test_a_name_like_no_other() -> None:
    with pytest.raises(InputError, match=r"XQZ is not a setting; harken serve --show-settings prints them all\."):
        check_variable("OTHER_XQZ", ServeSettings, prefix=ENVIRONMENT_PREFIX)
