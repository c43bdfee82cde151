"""What the facts of any number of batches and files add up to: problems and notes, each with a count and one place."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipeline.profile.facts import LONG_CHARACTERS, RATING_FACTS

BALANCED: Final = (0.35, 0.65)  # a share of verdicts outside is worth a look
FEW: Final = 20  # shares of fewer verdicts say nothing

# One row = one thing found.
FINDING: Final = pl.Schema(
    {
        "code": pl.String,
        "level": pl.String,  # problem: likely to hurt, note: good to know
        "says": pl.String,
        "count": pl.Int64,
        "total": pl.Int64,  # of what `count` is a part
        "file": pl.Int32,  # of the first one, null where no row is to blame
        "row": pl.Int64,
        "detail": pl.String,
    }
)

# Flag -> is it a problem, and what it says.
_FLAGS: Final[dict[str, tuple[str, str]]] = {
    "empty_answer": ("problem", "an answer is empty"),
    "identical_answers": ("problem", "both answers are the same text"),
    "no_text": ("problem", "an answer is only a word such as true, nan or null"),
    "no_prompt": ("note", "there is no prompt"),
    "empty_prompt": ("problem", "the prompt is empty"),
    "prompt_in_both": ("problem", "the prompt is repeated inside both answers"),
    "dialogues_differ": ("note", "an answer has several turns: the dialogues differ before the last one"),
    "replacement_characters": ("problem", "a text has U+FFFD, the mark of characters lost upstream"),
    "very_long": ("note", f"a text is longer than {LONG_CHARACTERS:,} characters"),
}


def findings(judgements: pl.DataFrame, ratings: pl.DataFrame, quarantined: pl.DataFrame, *, ordered: bool) -> pl.DataFrame:
    """Everything worth telling about these records.

    Args:
        judgements: schema JUDGEMENT_FACTS.
        ratings: schema RATING_FACTS.
        quarantined: schema QUARANTINE_FACTS.
        ordered: whether a is the first answer of the source; False where a is by construction the chosen one.

    Returns:
        Schema FINDING, problems first, each kind by its count.
    """
    told = [
        *_refused(quarantined),
        *(_flagged(judgements, name, level, says) for name, (level, says) in _FLAGS.items()),
        *(_flagged(ratings, name, *_FLAGS[name]) for name in _FLAGS if name in RATING_FACTS),
        *_repeated(judgements),
        *_balance(judgements, ordered),
        _unnamed(judgements),
        *_rated(ratings),
    ]
    found = pl.concat([FINDING.to_frame(), *told]).filter(pl.col("count") > 0)
    return found.sort(pl.col("level") == "note", -pl.col("count"), "code", maintain_order=True)


def shared_records(files: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Files that repeat another file's records: columns file, of, count, row; the earlier file counts as the original.

    Args:
        files: schema JUDGEMENT_FACTS or RATING_FACTS, any number of them.
    """
    seen = pl.concat([one.select("file", "row", "record") for one in files])
    first = seen.group_by("record").agg(pl.col("file").min().alias("of"))
    again = seen.join(first, on="record").filter(pl.col("file") != pl.col("of"))
    return again.group_by("file", "of").agg(pl.len().cast(pl.Int64).alias("count"), pl.col("row").min()).sort("file", "of")


def repeats(what: str, name: str, count: int, total: int, file: int, row: int, original: str) -> pl.DataFrame:
    """The finding that a file repeats another one's judgements or ratings, the first of them at a row: schema FINDING."""
    told = _told("copies_of_a_file", "problem", f"{what} of {name} are also in {original}", count, total)
    return told.with_columns(file=pl.lit(file, pl.Int32), row=pl.lit(row, pl.Int64))


def _finding(frame: pl.DataFrame, code: str, level: str, says: str, total: int, detail: str | None = None) -> pl.DataFrame:
    """One finding whose rows (with file and row) are given."""
    place = frame.select("file", "row").sort("file", "row").head(1)
    return _told(code, level, says, frame.height, total, detail).with_columns(
        file=pl.lit(place["file"].first(), pl.Int32), row=pl.lit(place["row"].first(), pl.Int64)
    )


def _told(code: str, level: str, says: str, count: int, total: int, detail: str | None = None) -> pl.DataFrame:
    one = {"code": code, "level": level, "says": says, "count": count, "total": total, "file": None, "row": None, "detail": detail}
    return pl.DataFrame([one], schema=FINDING)


def _flagged(facts: pl.DataFrame, flag: str, level: str, says: str) -> pl.DataFrame:
    return _finding(facts.filter(flag), flag, level, says, facts.height)


def _refused(quarantined: pl.DataFrame) -> list[pl.DataFrame]:
    """By reason: rows, the first of them and its detail."""
    rows = quarantined.sort("file", "row", maintain_order=True)
    by_reason = rows.group_by("reason", maintain_order=True).agg(
        pl.struct("file", "row").n_unique().cast(pl.Int64).alias("count"), pl.col("file", "row", "field", "detail").first()
    )
    where = pl.when(pl.col("field").is_not_null()).then(pl.col("field") + ": ").otherwise(pl.lit("")) + pl.col("detail")
    says = pl.lit("rows go to quarantine as ") + pl.col("reason")
    total = pl.lit(None, pl.Int64)
    return [by_reason.select(code="reason", level=pl.lit("problem"), says=says, count="count", total=total, file="file", row="row",
                             detail=where)]  # fmt: skip


def _repeated(facts: pl.DataFrame) -> list[pl.DataFrame]:
    """Copies, equal unnamed votes, pairs in both orders, pairs with opposite verdicts."""
    rows = facts.sort("file", "row", maintain_order=True)
    again = rows.filter(pl.int_range(pl.len()).over("file", "record") > 0)
    votes = pl.col("vote") & ~pl.col("named")
    first_order = pl.col("swapped").first().over("pair")
    other_order = rows.filter(pl.col("swapped") != first_order, ~pl.col("identical_answers"))
    better = pl.when("swapped").then(-pl.col("side")).otherwise("side")
    decided = rows.filter(pl.col("side") != 0, ~pl.col("identical_answers")).with_columns(better=better)
    opposed = decided.filter(pl.col("better") != pl.col("better").first().over("pair"))
    pairs = facts["pair"].n_unique()
    return [
        _finding(again.filter(~votes), "copies", "problem", "comparison, verdict and annotator are those of an earlier row", facts.height),
        _finding(
            again.filter(votes), "equal_unnamed_votes", "note", "equal votes of unnamed annotators; each counts as a vote", facts.height
        ),
        _finding(other_order.unique("pair", maintain_order=True), "swapped_pairs", "note",
                 "pairs stand in both orders, first A/B and then B/A", pairs),
        _finding(opposed.unique("pair", maintain_order=True), "opposite_verdicts", "note", "pairs have verdicts both ways", pairs),
    ]  # fmt: skip


def _balance(facts: pl.DataFrame, ordered: bool) -> list[pl.DataFrame]:
    """Shares of verdicts: ties, for the longer answer, for the first answer."""
    ties = facts.filter(pl.col("side") == 0)
    sides = facts["side"].filter(facts["side"] != 0)
    longer = facts["longer_won"].drop_nulls()
    shares = [("longer_wins", "verdicts are for the longer answer", int(longer.sum()), longer.len())]
    if ordered:
        shares.append(("first_wins", "verdicts are for the first answer", int((sides == 1).sum()), sides.len()))
    told = [_finding(ties, "ties", "note", "verdicts are ties", facts.height)]
    for code, says, count, total in shares:
        if total >= FEW:
            low, high = BALANCED
            fair = low <= count / total <= high
            hint = None if fair else f"outside {100 * low:.0f} to {100 * high:.0f} %, so a model can learn that instead of quality"
            told.append(_told(code, "note" if fair else "problem", says, count, total, hint))
    return told


def _unnamed(facts: pl.DataFrame) -> pl.DataFrame:
    unnamed = facts.filter(~pl.col("named"))
    some = 0 < unnamed.height < facts.height
    return _finding(unnamed, "unnamed_annotators", "problem" if some else "note", "verdicts name no annotator", facts.height)


def _rated(facts: pl.DataFrame) -> list[pl.DataFrame]:
    """What only ratings have: their scales, doubtful scores, prompts with one response."""
    rows = facts.sort("file", "row", maintain_order=True)
    scales = rows.group_by("criterion", maintain_order=True).agg(
        pl.len(), pl.col("score").min().alias("low"), pl.col("score").max().alias("high"), pl.col("score").n_unique().alias("values")
    )
    told = [
        _told("scale", "note", f"scores on {name!r}: {low:g} to {high:g}, {values} different ones", count, facts.height)
        for name, count, low, high, values in scales.rows()
    ]
    doubtful = rows.explode("flags").drop_nulls("flags")
    told += [
        _finding(doubtful.filter(pl.col("flags") == name), str(name), "problem", f"scores are doubtful: {name}", facts.height)
        for name in doubtful["flags"].unique().sort()
    ]
    alone = rows.filter(pl.col("response").n_unique().over("prompt") == 1).unique("prompt", maintain_order=True)
    told.append(_finding(alone, "one_response", "note", "prompts have one scored response, so nothing to compare it with",
                         facts["prompt"].n_unique()))  # fmt: skip
    copies = rows.filter(pl.int_range(pl.len()).over("file", "record") > 0)
    told.append(_finding(copies, "copies", "problem", "response, score and annotator are those of an earlier row", facts.height))
    return told
