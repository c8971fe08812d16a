"""How p-values are written."""

SMALLEST_SHOWN = 0.0001


def p_value_text(value: float | None) -> str:
    """Such as "0.023", "< 0.0001", or "none" where nothing could be tested."""
    if value is None:
        return "none"
    return f"{value:.2g}" if value > SMALLEST_SHOWN else f"< {SMALLEST_SHOWN:.4f}"


def p_text(value: float | None) -> str:
    """Such as "p = 0.023" or "p < 0.0001"."""
    shown = p_value_text(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"
