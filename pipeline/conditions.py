"""What a rule's `drop_if` may hold: its columns, and the few words and marks that reach the SQL parser."""

import difflib
import re

import polars as pl
import pyarrow as pa

from pipeline.errors import ConfigError, SchemaError
from pipeline.schemas import PAIR

_NOT_YET = {"weight"}  # made from what the rules leave: a rule on it would see 1 everywhere
_POLARS_TYPE: dict[pa.DataType, pl.DataType] = {
    pa.bool_(): pl.Boolean(), pa.int64(): pl.Int64(), pa.float32(): pl.Float64(), pa.float64(): pl.Float64(), pa.string(): pl.String()
}  # fmt: skip
COLUMNS: dict[str, pl.DataType] = {
    field.name: _POLARS_TYPE[field.type]
    for field in PAIR
    if field.name in ("criterion", "peer_verdict", "rationale_missing")
    or field.name.endswith("_language")
    or (field.type in _POLARS_TYPE and field.type != pa.string() and field.name not in _NOT_YET)
}

# What a drop_if may consist of. A list of what is allowed: nothing else reaches the SQL parser, so no subquery, window, aggregate
# (their values would depend on the partition), clock, random number or function that reads anything.
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|\"(?P<quoted>[A-Za-z_][A-Za-z0-9_]*)\""
    r"|(?P<text>'(?:[^'\\]|'')*')|(?P<comment>--|/\*)|(?P<mark><=|>=|<>|!=|==|[<>=+\-*/%(),]))"
)
_KEYWORDS = {"and", "or", "not", "is", "null", "in", "between", "like", "true", "false", "case", "when", "then", "else", "end"}
_FUNCTIONS = {"abs", "ceil", "coalesce", "exp", "floor", "greatest", "least", "ln", "lower", "nullif", "round", "sign", "sqrt", "upper"}
_MAY_HOLD = (
    "use columns, numbers, 'text', and, or, not, comparisons, arithmetic, in, between, is null, like, case, and "
    f"{', '.join(sorted(_FUNCTIONS))}."
)
_MAX_CHARS = 4000  # the SQL engine's stack overflows on chains of some ten thousand terms
_COMPARISONS = {"<", "<=", ">", ">=", "=", "==", "<>", "!="}


def seen(pairs: pl.DataFrame, columns: list[str]) -> list[pl.Expr]:
    """The columns as conditions see them: a float32 as the short decimal it stands for, so that 0.3 is not 0.30000001.

    Raises:
        SchemaError: the pairs lack one.
    """
    missing = [column for column in columns if column not in pairs.columns]
    if missing:
        raise SchemaError(f"rules: the pairs lack the columns {missing}; expected every column that a rule names. Add the signals first.")
    single = {column for column in columns if pairs.schema[column] == pl.Float32}
    return [pl.col(column).cast(pl.String).cast(pl.Float64) if column in single else pl.col(column) for column in columns]


def tokens_of(name: str, sql: str, key: str | None = None) -> list[tuple[str, str]]:
    """A condition as (kind, value), where kind is column, keyword, function, number, text or mark.

    Args:
        name: the rule's, for messages.
        sql: the condition.
        key: the key of the config that holds it, where that is no rule.

    Raises:
        ConfigError: it is too long, or holds what a condition may not hold.
    """
    where = f"rule {name!r}: drop_if" if key is None else f"{key}:"
    if len(sql) > _MAX_CHARS:
        raise ConfigError(f"{where} has {len(sql)} characters; expected at most {_MAX_CHARS}. Split it into several rules.")
    tokens: list[tuple[str, str]] = []
    text, position = sql.rstrip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup == "comment":
            found = text[position:].strip()[:20]
            raise ConfigError(f"{where} {sql!r} has {found!r}, which a condition may not hold; {_MAY_HOLD}")
        kind, value = str(match.lastgroup), str(match[str(match.lastgroup)])
        position = match.end()
        if kind == "quoted" or (kind == "word" and value in COLUMNS):
            kind = "column"
        elif kind == "word":
            called = text[position:].lstrip().startswith("(")
            kind, value = _word(where, sql, value, called)
        if kind == "column":
            require_known(name, value, key)
        tokens.append((kind, value))
    return tokens


def _word(where: str, sql: str, word: str, called: bool) -> tuple[str, str]:
    lower = word.lower()
    if lower in _KEYWORDS:
        return "keyword", lower
    if not called:
        return "column", word
    if lower in _FUNCTIONS:
        return "function", lower
    raise ConfigError(f"{where} {sql!r} calls {word!r}, which a condition may not do; {_MAY_HOLD}")


def require_known(name: str, column: str, key: str | None = None) -> None:
    """Check that a rule, or a key of the config, may use a column.

    Raises:
        ConfigError: there is none of that name.
    """
    if column not in COLUMNS:
        near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.0)
        where = f"rule {name!r}" if key is None else key
        raise ConfigError(f"{where}: unknown column {column!r}; did you mean {near[0]!r}? Columns: {', '.join(COLUMNS)}.")


def plain_comparison(tokens: list[tuple[str, str]]) -> tuple[str | None, float | None]:
    """The column and number of `column < number`, either way round, or of a bare flag; otherwise nothing."""
    while len(tokens) > 2 and tokens[0][1] == "(" and tokens[-1][1] == ")" and _closes_last(tokens):
        tokens = tokens[1:-1]
    if len(tokens) == 1:
        return tokens[0][1], 1.0
    marks = [i for i, (kind, value) in enumerate(tokens) if kind == "mark" and value in _COMPARISONS]
    if len(marks) != 1:
        return None, None
    left, right = tokens[: marks[0]], tokens[marks[0] + 1 :]
    for column, number in ((left, right), (right, left)):
        sign, digits = (-1.0, number[1:]) if number[:1] == [("mark", "-")] else (1.0, number)
        if [k for k, _ in column] == ["column"] and [k for k, _ in digits] == ["number"]:
            return column[0][1], sign * float(digits[0][1])
    return None, None


def _closes_last(tokens: list[tuple[str, str]]) -> bool:
    depth = 0
    for i, (_, value) in enumerate(tokens):
        depth += (value == "(") - (value == ")")
        if depth == 0:
            return i == len(tokens) - 1
    return False
