"""Which hypothesis belongs to which reference."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harken.core import InputError

Texts = Mapping[str, str] | Sequence[str] | Sequence[tuple[str, str]]
References = Mapping[str, str | Sequence[str]] | Sequence[str] | Sequence[tuple[str, str | Sequence[str]]]


def pair_up(
    references: References, hypotheses: Texts, missing: str, side: str = "hypotheses"
) -> tuple[dict[str, str | Sequence[str]], list[str], tuple[str, ...]]:
    """References by id, the hypothesis of each in that order, and the ids that have none (scored as empty).

    `missing` is "error" or "deletions"; `side` names the hypotheses in errors. Raises InputError as `score` says.
    """
    if missing not in ("error", "deletions"):
        raise InputError(f"missing is {missing!r}; use 'error' or 'deletions'.")
    if _is_positional(references) != _is_positional(hypotheses) and len(references) and len(hypotheses):
        raise InputError(
            f"Of references and {side}, one has ids and the other has none.", hint="Give both as {id: text}."
        )
    by_id = _by_id(references, "references")
    for id_, text in by_id.items():
        if not isinstance(text, str):
            _check_alternatives(id_, text)
    answers = _by_id(hypotheses, side)
    for id_, text in answers.items():
        if not isinstance(text, str):
            raise InputError(f"{side}: {id_!r} has {type(text).__name__}, not text.", hint='Use "" for no words.')
    absent = _check_partners(by_id, answers, missing, side)
    return by_id, [answers.get(id_, "") for id_ in by_id], absent


def _is_positional(texts: References | Texts) -> bool:
    return not isinstance(texts, Mapping) and any(isinstance(item, str) for item in texts)


def _by_id(texts: Any, side: str) -> dict[str, Any]:
    if isinstance(texts, str):
        raise InputError(f"{side}: this is one text.", hint="Put it into a list, and the other side too.")
    if isinstance(texts, Mapping):
        return dict(texts)
    if _is_positional(texts):
        return {str(place): text for place, text in enumerate(texts)}
    found: dict[str, Any] = {}
    for item in texts:
        if not (isinstance(item, Iterable) and len(pair := tuple(item)) == 2 and isinstance(pair[0], str)):
            raise InputError(f"{side}: {item!r} is not a text and not (id, text).", hint="Give {id: text}.")
        id_, text = pair
        if id_ in found:
            raise InputError(f"{side} hold the id {id_!r} twice.", hint="Give every utterance a name of its own.")
        found[id_] = text
    return found


def _check_alternatives(id_: str, texts: object) -> None:
    if not isinstance(texts, list | tuple):
        raise InputError(f"references: {id_!r} has {type(texts).__name__}, not text.", hint='Use "" for no words.')
    if not texts:
        raise InputError(f"references: {id_!r} has no alternatives.", hint='Use "" where nothing is said.')
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"references: {id_!r} has {type(text).__name__} among its alternatives, not text.")


def _check_partners(
    references: Mapping[str, object], hypotheses: Mapping[str, str], missing: str, side: str
) -> tuple[str, ...]:
    """Ids without a hypothesis, where that is allowed."""
    absent = tuple(id_ for id_ in references if id_ not in hypotheses)
    extra = [id_ for id_ in hypotheses if id_ not in references]
    if extra:
        raise InputError(f"{side}: {_name(extra)} without a reference.", hint="Score what is in this test set only.")
    if absent and missing == "error":
        raise InputError(
            f"{side}: {_name(absent)} without a hypothesis.",
            hint="Use missing='deletions' to score them as recognised empty.",
        )
    return absent


def _name(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(id_) for id_ in ids[:3])
    rest = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return f"{len(ids)} utterance{'s' if len(ids) > 1 else ''} ({shown}{rest})"
