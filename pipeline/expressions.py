"""Numbers that a config names: a column, or a SQL expression of the parts that a rule's `drop_if` may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl
from polars.exceptions import PolarsError

from pipeline.conditions import COLUMNS, seen, tokens_of
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Number:
    """A checked expression. `columns`: those it uses, none of a plain number."""

    sql: str
    columns: tuple[str, ...]

    def of(self, pairs: pl.DataFrame) -> pl.Series:
        """Its value for each pair, float64; null where it is unknown or not finite.

        Raises:
            SchemaError: the pairs lack a column.
        """
        values = pairs.select("pair_id", *seen(pairs, list(self.columns)))
        number = values.with_columns(value=pl.sql_expr(self.sql).cast(pl.Float64)).get_column("value") + 0.0  # -0.0 ranks as 0.0
        return number.replace([float("inf"), float("-inf")], None).fill_nan(None)


def compile_number(where: str, sql: str, off: Mapping[str, str] = MappingProxyType({})) -> Number:
    """Check an expression.

    Args:
        where: the key of the config that holds it.
        sql: the expression.
        off: columns that the config does not ask for, and what in it would.

    Raises:
        ConfigError: it has what no condition may have, an unknown column or one that is not computed, or is no number.
    """
    columns = tuple(dict.fromkeys(value for kind, value in tokens_of(where, sql, where) if kind == "column"))
    for column in columns:
        if column in off:
            raise ConfigError(f"{where}: {column!r} is not computed; it needs `{off[column]}`. Set that, or use another column.")
    try:
        sample = pl.DataFrame({"_": [0, 0], **{c: [1, None] for c in columns}}).cast({c: COLUMNS[c] for c in columns}, strict=False)
        result = sample.select(pl.sql_expr(sql).alias("result")).to_series()
    except PolarsError as error:
        raise ConfigError(f"{where}: {sql!r} is not a valid expression: {str(error).splitlines()[0]}.") from None
    if not result.dtype.is_numeric():
        raise ConfigError(f"{where}: {sql!r} gives {result.dtype}; expected a number, as in `p_soft` or `rm_mean - 0.5 * rm_std`.")
    return Number(sql, columns)
