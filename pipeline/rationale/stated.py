"""Rationales that the data brings: why an annotator voted or scored as they did, told of `chosen` and `rejected`.

A reason speaks of the answers as its source shows them ("Response 1", "Assistant B", "the first answer", "@Response 2", "Output (a)",
"A1"). The judgement's own order undoes that: one, A, first and left are its `response_a`. A rating's reason speaks of one answer, and
those of both answers by one annotator make one rationale.
"""

from collections.abc import Callable
from typing import Final

import polars as pl

from pipeline.rationale.sides import CHOSEN, REJECTED, has_letters, undo_order
from pipeline.rationale.unasked import unasked

# `the answer 2` may be a number: only a capital tells that such a word is a name.
_NOUN: Final = (
    r"(?:(?i:responses?|assistants?|completions?|candidates?|chatbots?)|(?:Answer|Output|Model|Reply|Summary|Argument|Conversation|Story|Text)s?"
    r"|Replies|Summaries|Stories|AI)"
)
_MARKS: Final = {"A": "(?:1|One)", "B": "(?:2|Two)"}
_PLACES: Final = {"A": "(?i:first|1st|left|left-hand)", "B": "(?i:second|2nd|right|right-hand)"}
_PLACED: Final = (
    r"(?i:responses?|assistants?|completions?|candidates?|chatbots?|answers?|outputs?|models?|repl(?:y|ies)|summar(?:y|ies)|arguments?"
    r"|conversations?|stor(?:y|ies))\b"
)
_JOINED: Final = r"(\s*(?:,|and|or|&|/|vs\.?|versus|than|over)\s*)"
_THE: Final = r"(?i:\b(?:both )?(?:the )?)"
_SHORT: Final = r"\b[aA][12]\b"
# Names whose order the record does not have: a judge that saw shuffled answers called them M and m; 0 and 1 are not 1 and 2.
_LOST: Final = rf"(?i:\b(?:models?|outputs?|responses?))\s+[\"'(]?[mM]\b|{_NOUN}\s+#?0\b"
_BEST: Final = (
    r"(?:is|was|seems)\s+(?:the\s+|much\s+|far\s+|slightly\s+|clearly\s+|overall\s+)*(?:better|best|superior|preferable|preferred|winner)"
    r"(?:\s+(?:because|since|as|than|overall|due)\b|\s*[.,;!]|\s*$)"
)
_KINDS: Final = ("human", "judge", "reward_model")
_TOLD: Final = ("judgement_id", "pair_id", "prompt_id", "outcome", "shown_first", "annotator_id", "annotator_kind", "a_chosen")


def stated(judgements: pl.DataFrame, ratings: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The reasons of the votes that pairs count, each told of its pair's chosen and rejected answer.

    Args:
        judgements: schema JUDGEMENT, in any order: all rows that count in `pairs`, those of merged pairs with `merged_into` too. Copies
            and rows of other pairs are left out.
        ratings: schema RATING, in any order: those that the judgements derive from, others are left out.
        pairs: PAIR's pair_id, prompt_id, prompt, chosen, rejected, chosen_id, rejected_id, which are not equal.

    Returns:
        RATIONALE, one row a vote that gives reasons: kind `stated`, generator the annotator, `own_verdict` the vote. Accepted, until other
        checks say no, unless `reason` is `other_verdict` (the vote is for the rejected answer, or a tie), `order_unclear` (the answers
        have names whose order the record does not tell, or one that their own texts have) or `argues_otherwise` (it calls the answer
        better that its vote is against: the source's order is another). `label_shown` is null: a vote is part of the label, so what it
        says is no independent evidence of it. Sorted by pair_id; within a pair accepted ones first, then humans before judges, texts
        that speak of both answers before others, then by id: the first is the one to prefer.
    """
    sides = pairs.select(
        "pair_id",
        "prompt_id",
        "chosen_id",
        "rejected_id",
        lettered=_contents(has_letters),
        short=_contents(lambda text: text.str.contains(_SHORT)),
    )
    counted = judgements.filter(~pl.col("is_copy")).with_columns(
        pair_id=pl.coalesce("merged_into", "pair_id"), a_id=pl.coalesce("merged_a", "response_a_id")
    )
    votes = counted.drop("prompt_id").join(sides, on="pair_id").with_columns(a_chosen=pl.col("a_id") == pl.col("chosen_id"))
    told = pl.concat([_of_votes(votes), _of_ratings(votes, ratings)])
    won = pl.when(pl.col("outcome") == "tie").then(pl.lit("tie")).otherwise(_side((pl.col("outcome") == "a") == pl.col("a_chosen")))
    against = pl.col("own_verdict") != "chosen"
    rows = told.with_columns(own_verdict=won, shown_first=_side((pl.col("shown_first") == "a") == pl.col("a_chosen"))).with_columns(
        kind=pl.lit("stated"),
        generator="annotator_id",
        reason=pl.when(against).then(pl.lit("other_verdict"))
        .when(pl.col("unclear")).then(pl.lit("order_unclear"))
        .when(_prefers(REJECTED) & ~_prefers(CHOSEN)).then(pl.lit("argues_otherwise")),
        detail=pl.when(against).then(pl.format("the vote is {}", "own_verdict")),
    )  # fmt: skip
    both = pl.col("text").str.contains(rf"(?i){CHOSEN}") & pl.col("text").str.contains(rf"(?i){REJECTED}")
    rank = pl.col("annotator_kind").replace_strict(_KINDS, range(len(_KINDS)), return_dtype=pl.Int8)
    ordered = rows.sort("pair_id", pl.col("reason").is_not_null(), rank, ~both, "judgement_id")
    wanted = ["judgement_id", "pair_id", "prompt_id", "kind", "generator", "text", "reason", "detail", "shown_first", "own_verdict"]
    return unasked(ordered.select(wanted), pl.col("judgement_id"))


def _of_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes with a reason of their own."""
    given = votes.with_columns(pl.col("rationale").str.strip_chars()).filter(pl.col("rationale") != "")
    text = _lettered_names(pl.col("rationale"), pl.col("short"))
    # What the annotator saw first may not be what the source calls the first.
    placed = (pl.col("shown_first") == "b").fill_null(False) & (text != pl.col("rationale"))
    lost = pl.col("rationale").str.contains(_LOST) | (pl.col("short") & pl.col("rationale").str.contains(_SHORT))
    return given.select(*_TOLD, unclear=placed | lost, text=undo_order(text, pl.col("a_chosen"), pl.col("lettered")))


def _of_ratings(votes: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """The votes that derive from ratings with reasons."""
    given = ratings.filter(~pl.col("is_copy")).select("rating_id", "response_id", "criterion", "rationale")
    given = given.with_columns(pl.col("rationale").str.strip_chars()).filter(pl.col("rationale") != "")
    each = votes.select(*_TOLD, "response_a_id", rating_id="derived_from").explode("rating_id", empty_as_null=False)
    of_chosen = (pl.col("response_id") == pl.col("response_a_id")) == pl.col("a_chosen")
    reasons = each.join(given, on="rating_id").with_columns(of_chosen=of_chosen)
    about = pl.format("About {}: {}", pl.when("of_chosen").then(pl.lit(CHOSEN)).otherwise(pl.lit(REJECTED)), "rationale")
    ordered = reasons.sort("judgement_id", "pair_id", ~pl.col("of_chosen"), "criterion", "rating_id")
    told = [pl.col(name).first() for name in _TOLD[2:]]
    texts = ordered.group_by("judgement_id", "pair_id", maintain_order=True).agg(*told, text=about.str.join("\n\n"))
    return texts.select(*_TOLD, unclear=pl.lit(False), text="text")


def _lettered_names(text: pl.Expr, short: pl.Expr) -> pl.Expr:
    """Every way in which sources count two answers, as Response A and Response B."""
    named = text.str.replace_all(r"@((?i:response)\b)", "${1}")
    for first, second in (("A", "B"), ("B", "A")):
        both = f"Response {first}${{1}}Response {second}"
        named = named.str.replace_all(rf"{_THE}{_NOUN}\s+#?{_MARKS[first]}{_JOINED}#?{_MARKS[second]}\b", both)
        named = named.str.replace_all(rf"{_THE}{_PLACES[first]}{_JOINED}(?:the )?{_PLACES[second]}\s+{_PLACED}", both)
    for letter, mark in _MARKS.items():
        wrapped = rf"(?:\({mark}\)|\[{mark}\]|\"{mark}\"|'{mark}'|\*\*{mark}\*\*|{mark}\b)"
        named = named.str.replace_all(rf"{_THE}\b{_NOUN}[\s_-]*(?:#|(?i:no\.?|number)\s*)?{wrapped}", f"Response {letter}")
        named = named.str.replace_all(rf"{_THE}\b{_NOUN}\s*\((?i:{letter})\)", f"Response {letter}")
        named = named.str.replace_all(rf"{_THE}\b{_PLACES[letter]}[\s-]+{_PLACED}", f"Response {letter}")
    shortened = named
    for letter, digit in (("A", 1), ("B", 2)):
        shortened = shortened.str.replace_all(rf"(?:{_THE}\b{_PLACED}\s+)?\b[aA]{digit}\b", f"Response {letter}")
    return pl.when(short).then(named).otherwise(shortened)


def _contents(holds: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Whether a message of the prompt or of an answer is such."""
    each = holds(pl.element().struct.field("content"))
    return pl.any_horizontal(pl.col(name).list.eval(each).list.any() for name in ("prompt", "chosen", "rejected")).fill_null(False)


def _prefers(side: str) -> pl.Expr:
    """Whether a text says outright that one side is better."""
    return pl.col("text").str.contains(rf"(?i){side}\s+{_BEST}|\bI (?:would )?(?:prefer|preferred|choose|chose)\s+{side}\b")


def _side(is_chosen: pl.Expr) -> pl.Expr:
    return pl.when(is_chosen).then(pl.lit("chosen")).when(~is_chosen).then(pl.lit("rejected"))
