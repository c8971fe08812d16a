"""OpenAI's `chunking_strategy`: checked in full, though the server cuts long audio by its own settings."""

import json

from harken.serving.routes.fields import BadParameter, Fields, quoted

CHUNKING = "chunking_strategy"
# Those of `server_vad` with the lowest and highest value taken. OpenAI bounds only the threshold.
_TUNING = {"prefix_padding_ms": (0, 60_000), "silence_duration_ms": (0, 60_000), "threshold": (0, 1)}
# OpenAI's Python package sends an object field by field, others send it as JSON.
CHUNKING_FIELDS = (CHUNKING, *(f"{CHUNKING}[{key}]" for key in ("type", *_TUNING)))

_HINT = 'Use auto, or an object such as {"type": "server_vad", "threshold": 0.5}.'


def tunes_chunks(fields: Fields) -> bool:
    """Whether there are values for cutting in `chunking_strategy`. Raises BadParameter for what is not OpenAI's."""
    text = fields.text(CHUNKING, longest=1000)
    apart = any(fields.given(name) for name in CHUNKING_FIELDS[1:])
    if text is not None and apart:
        raise BadParameter(CHUNKING, f"{CHUNKING} is given twice.", hint=_HINT)
    if text == "auto" or not (text or apart):
        return False
    if text is not None:
        fields = _parsed(text)
    if fields.text(f"{CHUNKING}[type]") != "server_vad":
        raise BadParameter(CHUNKING, f"{CHUNKING} is of no known type.", hint=_HINT)
    values = [fields.number(f"{CHUNKING}[{key}]", low, high) for key, (low, high) in _TUNING.items()]
    return any(value is not None for value in values)


def _parsed(text: str) -> Fields:
    """The object of a JSON text, as if it had been sent field by field."""
    try:
        strategy = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadParameter(CHUNKING, f"{CHUNKING} is {quoted(text)}.", hint=_HINT) from err
    if not isinstance(strategy, dict):
        raise BadParameter(CHUNKING, f"{CHUNKING} is {quoted(text)}.", hint=_HINT)
    fields = Fields({f"{CHUNKING}[{key}]": [str(value)] for key, value in strategy.items()})
    fields.only(CHUNKING_FIELDS)
    return fields
