"""Column types shared by the tables."""

import json
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, Text, TypeDecorator

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself for INTEGER only


class Json(TypeDecorator[Any]):
    """A value as ASCII JSON in a text column: what PostgreSQL's text refuses (NUL, lone surrogates) is escaped.

    Binding raises ValueError or TypeError for what JSON has no form for, NaN included.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def to_json(value: Any) -> str:
    """Compact ASCII JSON. Raises ValueError or TypeError for what JSON has no form for."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
