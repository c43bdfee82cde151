"""What each source's votes said of each pair, beside what its answers differ in: the rows that models of bias are fitted on."""

import polars as pl

MAX_SAMPLE = 20_000  # pairs of a source that a regression sees: its intervals are narrow by then, and it takes a second
_WHOLE = 1_000_000

_IN_LANGUAGE = [(pl.col(f"{side}_language") == pl.col("prompt_language")).cast(pl.Int64) for side in ("chosen", "rejected")]
FACTORS: dict[str, pl.Expr] = {
    "length": pl.col("chars_gap"),
    "markdown": pl.col("markdown_gap"),
    "citations": pl.col("citations_gap"),
    "hedges": pl.col("hedges_gap"),
    "confidence": pl.col("confidence_gap"),
    "language": (_IN_LANGUAGE[0] - _IN_LANGUAGE[1]).fill_null(0),  # +1: chosen alone is in the prompt's language; unknown: no difference
}
"""What answers may differ in, each as chosen less rejected."""


def outcomes(pairs: pl.DataFrame, votes: pl.DataFrame) -> pl.DataFrame:
    """Put the votes of each source on each pair beside the differences of its answers.

    Args:
        pairs: PAIR rows with the signals that FACTORS names, of any order.
        votes: VOTES (`pipeline.consensus.votes`) of any pairs; those on other pairs are left out.

    Returns:
        One row for each source and pair, sorted by both: source, pair_id; `preferred` (-1, 0, 1: more of the source's votes are for
        rejected, as many, for chosen); `outcome` (0 to 1: the mean vote, 1 is for chosen, a tie is 1/2, and a vote of strength s is
        1/2 + s / 2 or 1/2 - s / 2; one without strength counts in full); a column for each of FACTORS (int64); chosen_model and
        rejected_model (the first by name; null: not known). All of it but ids changes sign, or sides, where a pair's sides swap.
    """
    models = [pl.col(f"{side}_models").list.sort().list.first().alias(f"{side}_model") for side in ("chosen", "rejected")]
    # `low` is the answer with the smaller id, as in pairing.
    facts = pairs.select("pair_id", *models, _sign=pl.when(pl.col("chosen_id") > pl.col("rejected_id")).then(1).otherwise(-1), **FACTORS)
    said = votes.join(facts.select("pair_id", "_sign"), on="pair_id")
    vote = pl.col("vote").cast(pl.Int64) * pl.col("_sign")
    # Whole millionths: their sum does not depend on the order of the votes.
    strength = (pl.col("strength").cast(pl.Float64).fill_null(1.0) * _WHOLE).round().cast(pl.Int64)
    counted = said.group_by("source", "pair_id").agg(
        preferred=vote.sum().sign().cast(pl.Int8), outcome=0.5 + (vote * strength).sum() / (pl.len() * 2 * _WHOLE)
    )
    told = counted.join(facts.drop("_sign"), on="pair_id").sort("source", "pair_id")
    return told.with_columns(pl.col(list(FACTORS)).cast(pl.Int64))


def sample(rows: list[pl.DataFrame]) -> pl.DataFrame:
    """Of each source, the rows of `outcomes` with the least pair ids, which are hashes: 20,000 at most.

    A sample of samples is the sample of the whole, so partitions may be sampled first.
    """
    place = pl.col("pair_id").rank("ordinal").over("source")
    return pl.concat(rows).filter(place <= MAX_SAMPLE).sort("source", "pair_id")
