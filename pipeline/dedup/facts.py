"""What keeps near duplicates apart: two texts in almost the same words that state other numbers, names or negations.

Made to notice rather than to be right: a difference that is none costs a merge, a missed one merges what contradicts. In
texts of scripts without capital letters any other word (in Chinese, Japanese and Thai any other character) counts as
another name, and so does any other word inside code. What is not seen: a name in lower case on both sides, and plain words
that change the meaning without being an opposite of each other.
"""

import polars as pl

from pipeline.dedup.opposites import OPPOSITES
from pipeline.dedup.vocabulary import (
    CALENDAR,
    COMMON,
    FRACTIONS,
    NEGATIONS,
    NUMBERS,
    ORDINALS,
    PERCENT,
    PREFIXES,
    UNITS,
)  # fmt: skip
from pipeline.texts import WORD

_SHOWN = 5  # facts of a side in a reason
_SLICE_BYTES = 1 << 24  # of text cut into tokens at once

# Marks that say the same, written alike.
_ALIKE = {
    **dict.fromkeys("‘’ʼ′´", "'"), **dict.fromkeys("‐‑‒–—−", "-"), **dict.fromkeys("×⋅·∙", "*"),  # noqa: RUF001
    "÷": "/", "∕": "/", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "⇒": "=>",  # noqa: RUF001
}  # fmt: skip
_CODE = r"(?s)```.*?(?:```|\z)|`[^`\n]+`"
_FENCE_NAME = r"(?m)^[ \t]*```[A-Za-z+#]*[ \t]*$"
_FORMATTING = r"(?i)</?(?:p|br|b|i|u|em|strong|div|span)\s*/?>"
_LINE_MARKER = r"(?m)^[ \t]*(?:>[ \t]*)?(?:[-+•*▪◦‣][ \t]+|#{1,6}[ \t]+)?"  # quotation, bullet, heading
# Numbers of a list: at the beginnings of lines, or in a list that was run together.
_LIST_NUMBERS = [r"(?m)^[ \t*_]*\(?([0-9]{1,3})(?:[.)]|\\\.)[*_]*[ \t]", r"(?:^|\s)[*_]*\(?([0-9]{1,3})[.)][*_]*\s"]
_STARS = [(r"([^\w)\]*\s])\s+\*\s", "$1 "), (r"(^|[^\w)\]*])\*{1,3}([^\s*])", "$1 $2"), (r"([^\s*])\*{1,3}($|[^\w(\[*\-])", "$1 $2")]

_TOKEN = "|".join(
    [
        r"['_]+",  # quotes before a word or number are none of it
        r"(?i:https?)://[^\s)>\]]+|[\w.+\-]+@[\w\-]+\.[\w.\-]+",  # addresses
        r"(?:[$€£¥₹]\s*)?(?:\d+(?:[.,:/'_]\d+)*|\.\d+)\p{Latin}*-?",  # numbers, with currency and attached unit; the hyphen is no sign
        r"[\p{L}_]\w*(?:\.[\p{L}_]\w+)+\(?",  # dotted names of code and hosts
        r"\p{L}(?:\.\p{L})+\.?",  # e.g., U.S.
        rf"(?:{WORD})(?:\(|-+|\+\+|#)?",  # words; before a bracket, a function's name
        r"[)\]]-?|\s-+\s|-{2,}|={4,}",  # no signs either
        r"\s/\s|<=>|->|=>|[<>!=:+*]=+|&&|\|\||<<|>>|\*\*|\+\+|![\p{L}(_]|[\-+*=<>^%]|°|[€£¥₹]|[\p{Sm}--[|~+<=>]]",
    ]
)
_NUMBER_START = r"^(?:[$€£¥₹]\s*)?\.?\d"
_GROUPED = r"^\d{1,3}(?:[,'_]\d{3})+(?:\.\d+)?$"
_ACRONYM = r"^\p{L}(?:\.\p{L})+\.?$"
_ENDING = r"^.+'(?:s|m|re|ve|ll|d)?$"
# Names in any case: letters without case, letters with digits, snake_case, camelCase, calls, C++, C#, addresses, dotted names.
_STRONG = (
    r"[\p{Lo}\p{Lm}\p{N}]|[\p{L}\p{N}]_[\p{L}\p{N}]|\p{Ll}\p{Lu}|\(|\+\+$|#$|@|://|[\p{L}_]\w*(?:\.[\p{L}_]\w+)+"
)
_LETTER = "^[bcdfghjklnpqrvwxz]$"  # answer b, variable x; the others are words, or what is left of contractions
_SAID = {**{word: str(number) for word, number in NUMBERS.items()}, **ORDINALS, **FRACTIONS, **dict.fromkeys(PERCENT, "%")}
_NO_NAMES = COMMON | NEGATIONS | _SAID.keys() | {word for word, _, _ in OPPOSITES}
_ROW = pl.col("text") // 2


def difference(left: pl.Series, right: pl.Series) -> pl.Series:
    """What two texts state differently, row by row.

    Numbers (with units, signs and operators), negations, opposites (more | less) and names are compared, in this order
    and in the order of the text. Case, punctuation, white space, Markdown, numbers and bullets of lists, contractions,
    number words and separators of thousands make no difference; nor does a name in lower case on the other side.

    Args:
        left: texts, shape (N,), no nulls.
        right: texts, likewise.

    Returns:
        String (N,), `reason`: null where both state the same, otherwise the first kind that differs, with what each side
        states alone, such as "numbers: 3 | 4". Swapping the sides swaps what is shown and changes nothing else.
    """
    rows = pl.DataFrame({"left": left, "right": right}).with_row_index("row")
    differing = rows.filter(pl.col("left") != pl.col("right"))
    size = pl.col("left").str.len_bytes() + pl.col("right").str.len_bytes()
    parts = differing.with_columns(part=size.cast(pl.Int64).cum_sum() // _SLICE_BYTES).partition_by("part", maintain_order=True)
    nothing = pl.DataFrame(schema={"row": pl.UInt32, "reason": pl.String})
    reasons = pl.concat([nothing, *(_reasons(part) for part in parts)])
    return rows.select("row").join(reasons, on="row", how="left", maintain_order="left").get_column("reason")


def _reasons(rows: pl.DataFrame) -> pl.DataFrame:
    """(row, reason) of the rows that differ."""
    # A text is numbered by its row and side, so that one comparison tells whether two tokens are of one text.
    texts = pl.concat(rows.select(text=2 * pl.col("row") + side, said=name) for side, name in enumerate(("left", "right")))
    texts = texts.with_columns(said=_plain(pl.col("said")))
    code = texts.select("text", said=pl.col("said").str.extract_all(_CODE).list.join(" ")).filter(pl.col("said") != "")
    tokens, in_code = _tokens(texts.with_columns(said=_without_marks(pl.col("said")))), _tokens(code)
    measures = pl.col("unit").is_not_null() & pl.col("numeric").shift(1) & (pl.col("text") == pl.col("text").shift(1))
    words = tokens.with_columns(measures=measures.fill_null(False)).filter(pl.col("base").is_not_null())
    numbers = _numbers(tokens)
    alike = _differing("numbers", numbers.select("text", fact="listed")).get_column("row")  # [100,200] is a list, or 100200
    negations = words.filter("negates").select("text", fact="base")
    kinds = [
        _differing("numbers", numbers).filter(pl.col("row").is_in(alike.implode())),
        _differing("negation", negations, compared=pl.len()),
        _opposites(words),
        _without_prefix(words),
        _differing("names", _names(words.filter(~pl.col("measures")).drop("measures"), in_code)),
    ]
    return pl.concat(kinds).unique("row", keep="first", maintain_order=True)


def _plain(text: pl.Expr) -> pl.Expr:
    """With one spelling of marks, letters of one width, and no names of code fences."""
    text = text.str.replace_all("([0-9])[\u00a0\u2009\u202f]([0-9]{3})", "$1,$2").str.replace_many(_ALIKE).str.normalize("NFKC")
    return text.str.replace_all("\u2044", "/", literal=True).str.replace_all(_FENCE_NAME, "```")  # the slash of NFKC's fractions


def _without_marks(text: pl.Expr) -> pl.Expr:
    """Without the marks of lists, headings, quotations and emphasis."""
    # A list counts 1, 2, 3 and may begin again; a lone "2." may be the answer.
    begins = pl.element() == 1
    counts = (begins | (pl.element().diff() == 1)).all() & begins.first() & ~(begins & begins.shift(-1, fill_value=True)).any()
    for pattern in _LIST_NUMBERS:
        numbers = text.str.extract_all(pattern).list.eval(pl.element().str.extract("([0-9]+)").cast(pl.Int64))
        is_list = numbers.list.eval(counts).list.first().fill_null(False)
        text = pl.when(is_list).then(text.str.replace_all(pattern, " ")).otherwise(text)
    text = text.str.replace_all(_LINE_MARKER, "").str.replace_all(_FORMATTING, " ")
    for pattern, kept in _STARS:
        text = text.str.replace_all(pattern, kept)
    return text


def _tokens(texts: pl.DataFrame) -> pl.DataFrame:
    """The tokens of (text, said), in order: text and what `_features` says of each."""
    found = texts.select("text", token=pl.col("said").str.extract_all(_TOKEN)).explode("token", empty_as_null=False)
    return found.join(_features(found.get_column("token").unique()), on="token", how="left", maintain_order="left")


def _features(tokens: pl.Series) -> pl.DataFrame:
    """What each distinct token is.

    Columns: `base` (a word in lower case, without possessive; null for numbers and marks), `fact` (as a number or mark, or null),
    `listed` (the fact where commas separate), `numeric`, `value` (of a number word), `unit` (after a number), `negates`,
    `capital`, `strong` (a name whatever its case), `stripped` (without a negating prefix).
    """
    token, word, base = pl.col("token"), pl.col("word"), pl.col("base")
    numeric = token.str.contains(_NUMBER_START)
    is_word = ~numeric & token.str.contains(r"[\p{L}\p{N}\p{M}]") & ~token.str.starts_with("!")
    is_mark = ~numeric & ~is_word & ~token.str.contains(r"^(?:\s-|--|[)\]'_]|====)")
    folded = token.str.strip_chars_start("'_").str.strip_chars_end("'_-(.,;:!?*\"”“").str.to_lowercase()
    folded = pl.when(folded.str.contains(_ACRONYM)).then(folded.str.replace_all(".", "", literal=True)).otherwise(folded)
    table = tokens.to_frame("token").with_columns(word=pl.when(is_word).then(folded))
    table = table.with_columns(base=pl.when(word.str.contains(_ENDING)).then(word.str.replace(r"'[a-z]*$", "")).otherwise(word))

    amount = token.str.extract(r"(\.?\d+(?:[.,:/'_]\d+)*)").str.replace(r"^\.", "0.")
    listed = amount.str.replace_all("[,'_]", " ")
    whole = pl.when(amount.str.contains(_GROUPED)).then(amount.str.replace_all("[,'_]", "")).otherwise(listed)
    suffix = token.str.extract(r"\d(\p{Latin}+)-?$").str.to_lowercase()
    suffix = pl.when(suffix.is_in(["st", "nd", "rd", "th"])).then(pl.lit("th")).otherwise(" " + suffix.replace(UNITS)).fill_null("")
    currency = token.str.extract(r"^([$€£¥₹])").fill_null("")
    said = word.replace_strict(_SAID, default=None, return_dtype=pl.String)
    other = pl.coalesce(said, pl.when(is_mark).then(token.str.strip_chars()))
    no = word.str.replace_all("'", "", literal=True).is_in(NEGATIONS) | word.str.ends_with("n't")
    return table.select(
        "token",
        "base",
        fact=pl.when(numeric).then(currency + whole + suffix).otherwise(other),
        listed=pl.when(numeric).then(currency + listed + suffix).otherwise(other),
        numeric=numeric | said.is_not_null() | (token == "°"),
        value=word.replace_strict(NUMBERS, default=None, return_dtype=pl.Int64),
        unit=word.replace_strict(UNITS, default=None, return_dtype=pl.String),
        negates=no.fill_null(False),
        capital=(token.str.contains(r"^\p{Lu}") & ~base.is_in(_NO_NAMES) & ~no).fill_null(False),
        strong=is_word & said.is_null() & (token.str.contains(_STRONG) | base.is_in(CALENDAR) | base.str.contains(_LETTER)),
        stripped=pl.coalesce(
            pl.when(base.str.starts_with(prefix) & (base.str.len_chars() >= len(prefix) + 4)).then(base.str.slice(len(prefix)))
            for prefix in PREFIXES
        ),
    )


def _numbers(tokens: pl.DataFrame) -> pl.DataFrame:
    """(text, fact, listed): numbers, units and marks in order; neighbours that are one number ("twenty three") as one."""
    follows, goes_on = pl.col("text") == pl.col("text").shift(1), pl.col("text") == pl.col("text").shift(-1)
    value, following = pl.col("value"), pl.when(goes_on).then(pl.col("value").shift(-1))
    tens = value.is_between(20, 90) & (value % 10 == 0) & following.is_between(1, 9)
    scaled = value.is_between(1, 99) & following.is_in([100, 1_000])
    marked = tokens.with_columns(sum=pl.when(tens).then(value + following).when(scaled).then(value * following))
    # "twenty three hundred" is 23 and 100: a word that was taken takes no other.
    marked = marked.with_columns(sum=pl.when(pl.col("sum").shift(1).is_null().fill_null(True) | ~follows).then("sum"))
    taken = (pl.col("sum").shift(1).is_not_null() & follows).fill_null(False)
    unit = pl.when(pl.col("numeric").shift(1) & follows).then("unit")
    told = {name: pl.coalesce(pl.col("sum").cast(pl.String), unit, name) for name in ("fact", "listed")}
    told_of = marked.select("text", taken=taken, **told)
    return told_of.filter(~pl.col("taken") & pl.col("fact").is_not_null()).drop("taken")


def _names(words: pl.DataFrame, code: pl.DataFrame) -> pl.DataFrame:
    """(text, fact): every occurrence, in whatever case, of what is a name in one of the row's two texts."""
    plain = words.filter(~pl.col("capital") & ~pl.col("strong")).select("text", "base").unique()
    # A word that the same text has in lower case too, has its capital from the place where it stands.
    capital = words.filter(pl.col("capital") & ~pl.col("strong")).select("text", "base").unique()
    capital = capital.join(plain, on=["text", "base"], how="anti")
    strong = pl.concat([words.filter("strong"), code.filter(pl.col("base").is_not_null() & ~pl.col("negates"))]).select("text", "base")
    names = pl.concat([capital, strong]).select(row=_ROW, base="base").unique()
    found = words.select("text", "base", row=_ROW).join(names, on=["row", "base"], how="semi", maintain_order="left")
    return found.select("text", fact="base")


def _differing(kind: str, facts: pl.DataFrame, compared: pl.Expr | None = None) -> pl.DataFrame:
    """(row, reason) of the rows whose two texts have other facts, or the same in another order; or other values of `compared`."""
    told = facts.group_by("text", maintain_order=True).agg(
        pl.col("fact"), compared=pl.col("fact").str.join(" ") if compared is None else compared.cast(pl.String)
    )
    sides = [told.filter(pl.col("text") % 2 == side).with_columns(row=_ROW) for side in (0, 1)]
    both = sides[0].join(sides[1], on="row", how="full", coalesce=True, suffix="_right")
    differing = both.filter(pl.col("compared").ne_missing(pl.col("compared_right")))
    facts_of = [pl.col(name).fill_null(pl.lit([], pl.List(pl.String))) for name in ("fact", "fact_right")]
    return differing.select("row", reason=_shown(kind, *facts_of))


def _shown(kind: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """The reason: what each side has alone, or all it has where only number or order differ."""
    alone = [one.list.set_difference(other).list.sort() for one, other in ((left, right), (right, left))]
    same = (alone[0].list.len() == 0) & (alone[1].list.len() == 0)
    shown = [pl.when(same).then(told).otherwise(own) for told, own in zip((left, right), alone, strict=True)]
    said = [one.list.head(_SHOWN).list.join(" ") for one in shown]
    return pl.format(f"{kind}: {{}} | {{}}", *(pl.when(one == "").then(pl.lit("nothing")).otherwise(one) for one in said))


def _opposites(words: pl.DataFrame) -> pl.DataFrame:
    """(row, reason) where one text has more of one side of an opposition and less of the other, or the two sides in another order."""
    table = pl.DataFrame(OPPOSITES, schema={"base": pl.String, "opposition": pl.Int64, "pole": pl.Int64}, orient="row")
    told = words.select("text", "base").join(table, on="base", maintain_order="left_right")
    told = told.group_by("text", "opposition", maintain_order=True).agg(
        "pole", pl.col("base"), one=(pl.col("pole") == 1).sum().cast(pl.Int64), other=(pl.col("pole") == -1).sum().cast(pl.Int64)
    )
    sides = [told.filter(pl.col("text") % 2 == side).with_columns(row=_ROW) for side in (0, 1)]
    both = sides[0].join(sides[1], on=["row", "opposition"], suffix="_right")
    one, other = (pl.col(pole) - pl.col(f"{pole}_right") for pole in ("one", "other"))
    turned = (one * other < 0) | ((one == 0) & (other == 0) & (pl.col("pole") != pl.col("pole_right")))
    return both.filter(turned).sort("row", "opposition").select("row", reason=_shown("opposites", pl.col("base"), pl.col("base_right")))


def _without_prefix(words: pl.DataFrame) -> pl.DataFrame:
    """(row, reason) where a word of one text stands in the other with a prefix that turns it: legal, illegal."""
    own = words.select("text", "base").unique()
    other = own.select("base", text=pl.col("text") + 1 - 2 * (pl.col("text") % 2))
    prefixed = words.filter(pl.col("stripped").is_not_null()).select("text", "base", "stripped").unique()
    found = (
        prefixed.join(other, left_on=["text", "stripped"], right_on=["text", "base"], how="semi")
        .join(own, left_on=["text", "stripped"], right_on=["text", "base"], how="anti")
        .join(other, on=["text", "base"], how="anti")
        .sort("text", "base")
    )
    left = pl.col("text") % 2 == 0
    words_of = [pl.when(left).then(one).otherwise(other) for one, other in (("base", "stripped"), ("stripped", "base"))]
    return found.select(row=_ROW, reason=pl.format("opposites: {} | {}", *words_of))
