"""Tables of plain text, for terminals and logs."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[object]]) -> str:
    """Columns padded to their widest cell; the first is left-aligned, the others right. No rows give no text."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for label, *others in cells:
        rest = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([label.ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)
