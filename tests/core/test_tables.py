"""Tables of plain text."""

from harken.core.tables import text_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert (
        text_table([("", "WER"), ("clean", 2.5), ("noise-5db", 10)]) == "           WER\nclean      2.5\nnoise-5db   10"
    )


def test_nothing_and_one_column() -> None:
    assert text_table([]) == ""
    assert text_table([("a",), ("long",)]) == "a\nlong"
