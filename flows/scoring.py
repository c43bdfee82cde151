"""Scores that compare a pair with all others: what partitions sum up, what is fitted on the sums, and what each pair gets back.

Nothing here decides about data: that is `pipeline.bias`, `pipeline.noise`, `pipeline.signals.model_scores` and `pipeline.weights`.
"""

import polars as pl

from flows import steps, vectors, voting
from flows.steps import Run
from pipeline import noise_rates, storage, weights
from pipeline.bias import balance, length_control, outcomes, panel
from pipeline.ches import difficulty
from pipeline.dedup import merging
from pipeline.noise import review
from pipeline.signals import model_scores
from pipeline.store import Store

_REVIEW = ("peers", "reviewers")  # scratch tables of what `review.fit` gave; absent: too few pairs
_WEIGHED = ["pair_id", "p_soft", "noise_score", "margin", "tie", "sources"]


def summarise(run: Run, partition: int) -> None:
    """What a partition's pairs add to the scores of all."""
    pairs = merging.take_absorbed(storage.read_table(run.place("signals", partition))).kept
    votes = storage.read_table(run.place("admitted", partition))
    said = outcomes.outcomes(pairs, votes.join(pairs, on="pair_id", how="semi"))
    storage.write_table(outcomes.sample([said]), run.place("outcomes", partition))
    storage.write_table(panel.summarise_panel(said), run.place("panel", partition))
    storage.write_table(weights.summarise_votes(pairs), run.place("typical-votes", partition))
    storage.write_table(difficulty.summarise_difficulty(pairs), run.place("difficulty", partition))
    storage.write_table(model_scores.summarise_models(pairs), run.place("rm-models", partition))
    storage.write_table(model_scores.summarise_sums(pairs), run.place("rm-sums", partition))


def fit(run: Run, partitions: list[int]) -> None:
    """Fit over all partitions what each pair's scores are read from."""

    def parts(table: str) -> list[pl.DataFrame]:
        return steps.read_each(run, table, partitions)

    models, ranks = model_scores.reduce_model_scores(parts("rm-models"), parts("rm-sums"))
    storage.write_table(models, run.whole("rm-models"))
    storage.write_table(ranks, run.whole("rm-ranks"))
    sample = outcomes.sample(parts("outcomes"))
    control = length_control.fit_length_control(sample)
    storage.write_table(control.by_source, run.whole("length-control"))
    storage.write_table(weights.reduce_votes(parts("typical-votes")), run.whole("typical-votes"))
    found = review.fit(pl.concat(parts("peer-sample")), steps.encoder(run.config.embed).dimensions)
    if found is not None:
        for name, table in zip(_REVIEW, found.to_tables(), strict=True):
            storage.write_table(table, run.whole(name))
    statistics = [
        panel.reduce_panel(parts("panel"), sample),
        control.statistics,
        model_scores.model_statistics(models, ranks, run.dataset),
        difficulty.reduce_difficulty(parts("difficulty"), run.dataset),
    ]
    storage.write_table(pl.concat(statistics), run.whole("score-statistics"))


def apply(run: Run, partition: int) -> None:
    """Give a partition's pairs their scores, and part those that were merged into others from those that go on."""
    pairs = storage.read_table(run.place("signals", partition))
    pairs = model_scores.add_model_scores(pairs, storage.read_table(run.whole("rm-models")), storage.read_table(run.whole("rm-ranks")))
    pairs = length_control.add_length_tie(pairs, run.config.content.length_tie_chars)
    pairs = length_control.add_length_controlled(pairs, storage.read_table(run.whole("length-control")))
    texts = storage.read_table(run.place("texts", partition), ["text_id"]).to_series()
    index, embedded = vectors.needed(Store(run.store), steps.encoder(run.config.embed), texts, *run.buckets(partition))
    pairs = review.add_noise(pairs, embedded, review.rows_of(pairs, index), _review(run))
    pairs = weights.add_p_soft(pairs, storage.read_table(run.whole("typical-votes")))
    parted = merging.take_absorbed(pairs)
    peers = pl.col("peer_probability")
    labelled = parted.kept.filter(~pl.col("tie")).with_columns(peer_logit=(peers / (1 - peers)).log())
    storage.write_table(noise_rates.summarise_labels(labelled), run.place("noise", partition))
    storage.write_table(parted.kept, run.place("pairs-0", partition))
    storage.write_table(parted.dropped, storage.join(run.scratch, "left", f"{partition:03d}", f"stages{storage.SCRATCH}"))


def _review(run: Run) -> review.Review | None:
    if not storage.exists(run.whole(_REVIEW[0])):
        return None
    peers, reviewers = (storage.read_table(run.whole(name)) for name in _REVIEW)
    return review.Review.from_tables(peers, reviewers)


def reduce_weights(run: Run, partitions: list[int], rounds: int) -> list[pl.DataFrame]:
    """What weights are multiplied by, over the pairs that the rules left. Returns statistics of what was balanced."""
    config = run.config.weights
    if not config.any:
        return []
    places = [run.place(f"pairs-{rounds}", p) for p in partitions]
    sums = [weights.summarise_weights(storage.read_table(place, _WEIGHED)) for place in places]
    scales = weights.reduce_weights(sums, noise=config.noise, strength=config.strength)
    storage.write_table(scales.sources, run.whole("weight-scales"))
    columns, told = [*_WEIGHED, *(weights.check_factors(config).columns if config.factors else [])], list[pl.DataFrame]()
    if config.balance is not None:
        rule = balance.Balance("weights", config.balance)
        parts = [balance.summarise_balance(storage.read_table(place, ["pair_id", rule.signal]), rule) for place in places]
        found = balance.reduce_balance(parts, rule)
        storage.write_table(found.to_table(), run.whole("weight-bins"))
        columns, told = [*columns, rule.signal], [found.statistics]
    if config.balance is not None or config.factors:
        weighed = [weights.summarise_mean(_weighed(run, storage.read_table(place, list(dict.fromkeys(columns))))) for place in places]
        storage.write_table(pl.DataFrame({"mean": [weights.reduce_mean(weighed)]}), run.whole("weight-mean"))
    return told


def add_weights(run: Run, pairs: pl.DataFrame) -> pl.DataFrame:
    """Set `weight`: 1, or what the config asks for."""
    if not run.config.weights.any:
        return pairs.with_columns(weight=pl.lit(1.0, pl.Float32))
    weighed = _weighed(run, pairs)
    if run.config.weights.balance is None and not run.config.weights.factors:
        return weighed
    mean = storage.read_table(run.whole("weight-mean")).item()
    return weighed.with_columns((pl.col("weight") / mean).cast(pl.Float32))


def _weighed(run: Run, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs with `weight`; where a signal is balanced or there are factors, up to a factor that is the same for all."""
    config = run.config.weights
    scales = weights.WeightScales(storage.read_table(run.whole("weight-scales")))
    weighed = weights.add_weights(pairs, scales, noise=config.noise, strength=config.strength)
    if config.balance is not None:
        bins = balance.Balanced.from_table(storage.read_table(run.whole("weight-bins")))
        balanced = balance.apply_weights(weighed, balance.Balance("weights", config.balance), bins)
        weighed = balanced.with_columns(weight=(pl.col("weight") * pl.col("balance_weight")).cast(pl.Float32)).drop("balance_weight")
    return weights.add_factors(weighed, weights.check_factors(config)) if config.factors else weighed


def statistics(run: Run, partitions: list[int], balanced: list[pl.DataFrame]) -> pl.DataFrame:
    """Every number about the data set and its sources; `balanced` is what rules that balance a signal found."""
    parts = [storage.read_table(run.whole(f"{name}-statistics")) for name in ("vote", "score")]
    votes, labels = (steps.read_each(run, name, partitions) for name in ("agreement", "noise"))
    parts.append(voting.cycle_statistics(run, partitions))
    return pl.concat([*parts, *balanced, noise_rates.noise_rates(votes, labels)]).sort("statistic", "subject_kind", "subject", "note")
