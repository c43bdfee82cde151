"""The votes of the whole data set: who may vote, how reliable each voter is, and what each pair's votes say.

Nothing here decides about data: that is `pipeline.consensus`. What partitions send each other are counts and small tables.
"""

import polars as pl

from flows import judging, steps
from flows.steps import Run
from pipeline import pairing, storage
from pipeline.consensus import annotators, camps, cycles, held_out, judges, labels, model_ranks, models, patterns, roster, stored
from pipeline.consensus.votes import VOTES, votes_of
from pipeline.schemas import ANNOTATOR
from pipeline.statistics import agreement
from pipeline.statistics.table import statistics_table, unknown

_COMPARED_UNDER = ["prompt_id", "criterion", "context", "tools"]
_ABSORBED = pl.col("left_reason").eq_missing("near_duplicate")  # its votes count where it was merged into, once


def gather(run: Run, partition: int) -> None:
    """The votes of the sources that a partition's pairs count."""
    marked = storage.read_table(run.place("marked", partition), ["pair_id"])
    moved = storage.read_table(run.whole("moved-votes")).join(marked, on="pair_id", how="semi")
    votes = pl.concat([storage.read_table(run.place("votes", partition)), moved]).sort("pair_id", "judgement_id")
    storage.write_table(votes, run.place("stated-votes", partition))


def collect(run: Run, partition: int) -> None:
    """All votes that a partition's pairs count, judges' among them, and what they tell of judges, agreement and camps."""
    stated = storage.read_table(run.place("stated-votes", partition))
    asked = votes_of(judging.judgements(run, partition), pairing.b_is_low())
    votes = pl.concat([stated, asked]).sort("pair_id", "judgement_id")
    storage.write_table(votes, run.place("counted-votes", partition))
    own = _own_votes(run, partition, votes)
    storage.write_table(roster.summarise_voters(own), run.place("voters", partition))
    storage.write_table(agreement.summarise_votes(own), run.place("agreement", partition))
    storage.write_table(camps.camp_votes(own), run.place("camp-votes", partition))
    without_content = _without_content(run, partition, votes)
    storage.write_table(without_content.to_frame(), run.place("without-content", partition))
    storage.write_table(judges.audit(own, without_content), run.place("audit", partition))


def _without_content(run: Run, partition: int, votes: pl.DataFrame) -> pl.Series:
    """The pairs that a judge voted on and that hold an answer without content."""
    judged = votes.filter(pl.col("kind") != judges.HUMAN).select("pair_id").unique()
    if judged.is_empty():  # most data: its texts need not be read for this
        return judged.get_column("pair_id")
    return judging.without_content(run, partition, judged)


def _own_votes(run: Run, partition: int, votes: pl.DataFrame) -> pl.DataFrame:
    """The votes without those on absorbed pairs."""
    absorbed = storage.read_table(run.place("marked", partition), ["pair_id", "left_reason"]).filter(_ABSORBED)
    return votes.join(absorbed, on="pair_id", how="anti", maintain_order="left")


def reduce_audit(run: Run, partitions: list[int]) -> None:
    """Number the annotators of all partitions, and let each judge through its gates or not."""

    def parts(table: str) -> list[pl.DataFrame]:
        return steps.read_each(run, table, partitions)

    storage.write_table(patterns.number_annotators(parts("voters")), run.whole("numbers"))
    storage.write_table(judges.reduce_audit(parts("audit")), run.whole("judges"))


def count(run: Run, partition: int) -> None:
    """The votes that enter consensus, as patterns."""
    votes, numbers = storage.read_table(run.place("counted-votes", partition)), storage.read_table(run.whole("numbers"))
    without_content = storage.read_table(run.place("without-content", partition)).to_series()
    parted = judges.admit(votes, storage.read_table(run.whole("judges")), without_content, run.config.consensus.judges)
    storage.write_table(parted.kept, run.place("admitted", partition))
    kept, left = (_own_votes(run, partition, part) for part in (parted.kept, parted.dropped))
    storage.write_table(roster.summarise_left_out(kept, left), run.place("left-out", partition))
    storage.write_table(patterns.patterns_of(kept, numbers), run.place("patterns", partition))
    storage.write_table(held_out.sample(kept), run.place("shared-votes", partition))
    who = storage.read_table(run.place("marked", partition), ["pair_id", "prompt_id", "low_models", "high_models"])
    storage.write_table(model_ranks.summarise_models(kept, who), run.place("model-votes", partition))


def fit(run: Run, partitions: list[int]) -> None:
    """Fit the vote model, look for camps, and say how reliable each annotator is."""

    def parts(table: str) -> list[pl.DataFrame]:
        return steps.read_each(run, table, partitions)

    numbers = storage.read_table(run.whole("numbers"))
    counted = patterns.merge(parts("patterns"), numbers)
    fitted = models.fit(counted, run.config.consensus)
    model = models.VoteModel(fitted.log_tables, fitted.log_prior, fitted.signs)
    storage.write_table(model.to_table(), run.whole("vote-model"))
    found = camps.find_camps(parts("camp-votes"), [source.name for source in run.config.sources])
    told, audited = annotators.annotator_table(counted, fitted), storage.read_table(run.whole("judges"))
    table = roster.annotators(told, parts("voters"), found.groups, audited, run.config.consensus.judges)
    storage.write_table(table.select(ANNOTATOR.names), run.whole("annotators"), ANNOTATOR)
    about = [unknown("identifiability", agreement.WHOLE, counted.pairs, "sentence", line) for line in annotators.identifiability(counted)]
    statistics = [
        agreement.vote_statistics(parts("agreement")),
        found.statistics,
        statistics_table(about),
        models.fit_statistics(fitted, counted),
        models.foretell(held_out.sample(pl.concat([VOTES.to_frame(), *parts("shared-votes")])), run.config.consensus),
        roster.left_out_statistics(parts("left-out")),
        model_ranks.model_statistics(parts("model-votes")),
    ]
    storage.write_table(pl.concat(statistics), run.whole("vote-statistics"))


def several_camps(run: Run) -> str | None:
    """Which sources have several camps of annotators, in words; None where none has, or the config ignores them."""
    found = storage.read_table(run.whole("vote-statistics")).filter((pl.col("statistic") == "camps") & (pl.col("value") > 1))
    if found.is_empty() or run.config.consensus.several_camps == "ignore":
        return None
    return ", ".join(f"{camps:g} camps of annotators in {source}" for source, camps in found.select("subject", "value").iter_rows())


def decide(run: Run, partition: int) -> pl.DataFrame:
    """A partition's pairs with `chosen` and `rejected`, from the votes that count."""
    tally = pairing.add_votes(storage.read_table(run.place("marked", partition)), judging.judgements(run, partition))
    votes, numbers = storage.read_table(run.place("admitted", partition)), storage.read_table(run.whole("numbers"))
    group = pl.concat_str([pl.col(name).fill_null("") for name in _COMPARED_UNDER], separator="\n")
    annotated = storage.read_table(run.whole("annotators")).select("accuracy", "first_share", annotator="annotator_id")
    said, circles = models.decide(
        votes,
        tally.select("pair_id", "low_id", "high_id", group=pl.when(~_ABSORBED).then(group)),
        run.config.consensus,
        models.VoteModel.from_table(storage.read_table(run.whole("vote-model"))),
        numbers,
        annotated,
    )
    storage.write_table(circles, run.place("cycles", partition))
    valid = stored.still_valid(_stored(run), tally)
    said = stored.keep_posteriors(said, valid)
    unaudited = judges.unaudited_votes(votes, storage.read_table(run.whole("judges")))
    signals = said.select("pair_id", *models.SIGNALS).join(unaudited, on="pair_id", how="left")
    pairs = labels.choose(tally, said.select(*labels.POSTERIORS, "strength")).join(signals, on="pair_id", how="left", maintain_order="left")
    pairs = stored.keep_probabilities(pairs, valid)
    nobody = {"votes_admitted": 0, "unaudited_votes": 0, "posterior_entropy": labels.NOTHING_KNOWN}
    return pairs.with_columns(pl.col(name).fill_null(value) for name, value in nobody.items())


def _stored(run: Run) -> pl.DataFrame:
    """What published versions among the sources say of their pairs."""
    folder = storage.join(run.scratch, "posteriors")
    parts = [storage.read_table(storage.join(folder, name)) for name in storage.children(folder)]
    return pl.concat([stored.STORED.to_frame(), *parts])


def cycle_statistics(run: Run, partitions: list[int]) -> pl.DataFrame:
    """How often preferences go round in circles, over all partitions."""
    return cycles.cycle_statistics(steps.read_each(run, "cycles", partitions))
