"""How answers are written: Markdown, citations, hedges, words of confidence; and how long, among the answers to the same prompt.

Marks and citations are counted in any language. Hedges and words of confidence are English: elsewhere their counts are 0 or close to it.
"""

import polars as pl

from pipeline.signals import SIDES
from pipeline.texts import text_of

_FENCED = r"(?s)(?:^|\n)[ \t]*```.*?(?:\n[ \t]*```|\z)"
_INLINE_CODE = r"`[^`\n]+`"
# Where the marks of a language or of data stand: a heading's mark there is a comment, a list's a minus, a citation's an index.
_MARKS = (
    r"(?m)^ {0,3}#{1,6}[ \t]+\S",  # headings
    r"(?m)^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S",  # list items
    r"\*\*[^\s*][^*\n]*\*\*",  # bold; __init__ is a name
    r"(?m)^[ \t]*\|.+\|[ \t]*$",  # lines of tables
)
_YEAR = r"(?:1[5-9]|20)\d\d[a-z]?"
_AUTHOR = r"\p{Lu}[\p{L}'\x{2019}-]+"
_CITATIONS = (
    r"\[[1-9]\d{0,2}(?:\s?[,\x{2013}-]\s?[1-9]\d{0,2}){0,3}\]",  # [1], [2, 5], [3-7]; not [0-9] and not a list of data
    # (Author, 2020), (see Author et al., 2020, p. 7)
    rf"\([^()\n]{{0,60}}\p{{L}}[^()\n]{{0,60}}[,\x{{FF0C}}]\s?{_YEAR}(?:, pp?\. ?[\d\x{{2013}}-]+)?\)",
    rf"{_AUTHOR} (?:et al\.?|(?:and|&) {_AUTHOR}),? ?\({_YEAR}\)",  # one name with a year is most often a film
    r"(?i)\bhttps?://[^\s<>()\[\]]+|\bwww\.[^\s<>()\[\]]+",
)
# After Hyland, Metadiscourse (2005): his hedges and boosters that are rarely anything else in an answer.
_HEDGES = (
    r"(?i)\b(?:i (?:think|believe|guess|suppose|suspect|assume)|in my (?:opinion|view|experience)|maybe|perhaps|possibly|probably"
    r"|presumably|apparently|supposedly|might|could be|seems?|seemed|appears? to|tends? to|likely|unlikely|roughly"
    r"|as far as i (?:know|can tell)|to (?:the best of )?my knowledge|it depends|unclear|uncertain|hard to say"
    r"|i(?:'m| am) not (?:(?:entirely|completely|quite|really) )?(?:sure|certain)|not (?:entirely|completely) (?:clear|certain))\b"
)
_MAY = r"\bmay\b"  # lower case alone: May is a month
_CONFIDENCE = (
    r"(?i)\b(?:definitely|certainly|clearly|obviously|evidently|undoubtedly|undeniably|unquestionably|indisputably|absolutely|surely"
    r"|without (?:a |any )?doubt|no doubt|beyond (?:a |any )?doubt|of course|in fact|i(?:'m| am) (?:(?:very|quite|absolutely) )?"
    r"(?:sure|certain|confident)|guaranteed?|always|never|must be|it is (?:clear|certain|obvious|well known) that)\b"
)


def add_style(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `markdown_gap`, `citations_gap`, `hedges_gap` and `confidence_gap`: the chosen answer's count less the rejected one's.

    Counts, not shares of the words: votes rise with the number of citations (Search Arena, 2025), and length has columns of
    its own. Markdown: headings, list items, bold runs, fenced code blocks, lines of tables. Citations: numbers in brackets,
    authors with a year, web addresses. What stands in code counts for nothing but the block itself.

    Args:
        pairs: PAIR rows, of any order.

    Source: the factors of Dissecting Human and LLM Preferences (2024), Search Arena (2025) and Taming Overconfidence (2024); word
    lists after Hyland, Metadiscourse (2005).
    """
    texts = pairs.select(text_of(side).alias(side) for side in SIDES)
    prose = texts.select(pl.all().str.replace_all(_FENCED, "\n").str.replace_all(_INLINE_CODE, " "))
    plain = prose.select(pl.all().str.replace_all("’", "'", literal=True))  # noqa: RUF001
    counts = {
        "markdown": (_times(prose, *_MARKS), _times(texts, _FENCED)),
        "citations": (_times(prose, *_CITATIONS),),
        "hedges": (_times(plain, _HEDGES, _MAY),),
        "confidence": (_times(plain, _CONFIDENCE),),
    }
    gaps = []
    for name, parts in counts.items():
        totals = [sum((part.get_column(side) for part in parts[1:]), parts[0].get_column(side)) for side in SIDES]
        gaps.append((totals[0] - totals[1]).alias(f"{name}_gap"))
    return pairs.with_columns(gaps)


def add_length_percentiles(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `chosen_length_percentile` and `rejected_length_percentile`: 0 is the shortest answer to the prompt, 1 the longest.

    With r other answers that are shorter, e as long and n in all, (r + e / 2) / (n - 1), in characters; null where the prompt has
    one answer. Lengths are to be judged among the answers to the same prompt (When More is Less, 2025).

    Args:
        pairs: every pair of each prompt, with prompt_id, `*_id`, `*_chars`; of any order. An answer counts once a prompt, in however many
            pairs it stands.
    """
    sides = [pairs.select("prompt_id", answer=f"{side}_id", chars=f"{side}_chars") for side in SIDES]
    answers = pl.concat(sides).unique(["prompt_id", "answer"], keep="any")
    others = pl.len().over("prompt_id") - 1
    rank = (pl.col("chars").rank("average").over("prompt_id") - 1) / pl.when(others > 0).then(others)
    ranked = answers.select("prompt_id", "answer", rank=rank)
    for side in SIDES:
        known = ranked.rename({"answer": f"{side}_id", "rank": f"{side}_length_percentile"})
        pairs = pairs.join(known, on=["prompt_id", f"{side}_id"], how="left", maintain_order="left")
    return pairs


def _times(texts: pl.DataFrame, *patterns: str) -> pl.DataFrame:
    """How often the patterns occur in each text, together."""
    return texts.select(pl.sum_horizontal(pl.col(side).str.count_matches(p).cast(pl.Int64) for p in patterns).alias(side) for side in SIDES)
