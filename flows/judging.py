"""Verdicts of language models: which pairs are judged, what is asked, and the judgements that come of it.

Nothing here decides about data: that is `pipeline.judging`. The judgements enter consensus as votes, through its gates.
"""

from typing import Any

import polars as pl

from flows import steps
from flows.asking import Ask, reading
from flows.inputs import input_row
from flows.steps import Run
from pipeline import storage
from pipeline.config import JudgeConfig, PipelineConfig
from pipeline.judging import asking, probes, report, verdicts, who
from pipeline.judging import judgements as said
from pipeline.judging import reading as read_answers
from pipeline.schemas import JUDGEMENT
from pipeline.signals import degenerate
from pipeline.stage import bucket_of
from pipeline.statistics.table import STATISTIC

PURPOSE = "judges"
_JUDGED, _SUMS = "judged-by-models", "judge-sums"
_SIDES = {"low": "chosen", "high": "rejected"}  # what the flags of empty answers call them


def check(config: PipelineConfig) -> None:
    """Check the conditions of judges.

    Raises:
        ConfigError: one cannot be read.
    """
    for judge in config.judges:
        who.check(judge)


def judgements(run: Run, partition: int) -> pl.DataFrame:
    """What judges said of a partition's pairs in this run: schema JUDGEMENT; no rows where none is asked."""
    place = run.place(_JUDGED, partition)
    return storage.read_table(place, JUDGEMENT.names) if storage.exists(place) else steps.empty(JUDGEMENT)


def draw(run: Run, partitions: list[int]) -> None:
    """Draw, over all partitions, the pairs that judges are held against people on, and those that become probes."""
    gold: dict[str, list[pl.DataFrame]] = {judge.name: [] for judge in run.config.judges}
    probed: dict[str, list[pl.DataFrame]] = {judge.name: [] for judge in run.config.judges}
    for partition in partitions:
        tally, votes, empty = _pairs(run, partition), _stated_votes(run, partition), without_content(run, partition)
        for judge in run.config.judges:
            gold[judge.name].append(who.summarise_gold(tally, votes, judge))
            probed[judge.name].append(probes.summarise_probes(tally, empty, judge))
    for judge in run.config.judges:
        storage.write_table(who.reduce_gold(gold[judge.name], judge).to_frame("pair_id"), run.whole(f"gold-{judge.name}"))
        storage.write_table(probes.reduce_probes(probed[judge.name], judge).to_frame("pair_id"), run.whole(f"probes-{judge.name}"))


def _pairs(run: Run, partition: int) -> pl.DataFrame:
    return storage.read_table(run.place("marked", partition))


def _stated_votes(run: Run, partition: int) -> pl.DataFrame:
    """The votes of the sources. What the same judges said for an earlier version must not change what they are asked."""
    ours = [who.annotator(judge, run.config.endpoint(judge.endpoint)) for judge in run.config.judges]
    return storage.read_table(run.place("stated-votes", partition)).filter(~pl.col("annotator").is_in(ours))


def without_content(run: Run, partition: int, among: pl.DataFrame | None = None) -> pl.Series:
    """The pairs, perhaps only those `among` some (pair_id), that hold an answer without content."""
    pairs = storage.read_table(run.place("marked", partition), ["pair_id", "prompt", *_SIDES]).rename(_SIDES)
    pairs = pairs if among is None else pairs.join(among, on="pair_id", how="semi")
    either = pl.any_horizontal(f"{side}_{flag}" for side in _SIDES.values() for flag in ("empty", "degenerate"))
    return degenerate.add_degenerate(pairs).filter(either).get_column("pair_id").sort()


def question(run: Run, partition: int, ask: Ask) -> dict[str, tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]]:
    """Ask every judge about a partition's pairs. Returns by judge: verdicts, verdicts on probes (VERDICTS), and the probes."""
    tally, votes, empty = _pairs(run, partition), _stated_votes(run, partition), without_content(run, partition)
    told = {}
    for judge in run.config.judges:
        gold, drawn = (storage.read_table(run.whole(f"{name}-{judge.name}")).to_series() for name in ("gold", "probes"))
        planted = probes.planted(tally, drawn)
        pairs = who.select(tally, votes, judge, gold, empty).kept
        told[judge.name] = (_asked(run, judge, pairs, ask), _asked(run, judge, planted, ask), planted)
    return told


def _asked(run: Run, judge: JudgeConfig, pairs: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    """VERDICTS of a judge on pairs: all samples, in all orders."""
    endpoint, form = run.config.endpoint(judge.endpoint), asking.form(judge)
    parts = [asking.ask(pairs, judge, endpoint, order, sample) for order, sample in asking.rounds(judge)]
    asked = pl.concat([part.kept for part in parts])
    later = [] if judge.meta is None else [(judge.meta, asking.meta_form())]
    brought = ask(endpoint.name, form, asked, later)
    heard = read_answers.read(asked, brought.answers, brought.failures, judge)
    heard = pl.concat([heard, *(read_answers.unasked(part.dropped) for part in parts)])
    if judge.meta is None:
        return heard
    reviewed = asking.ask_meta(heard, pairs, run.config.endpoint(judge.meta)).kept
    return read_answers.read_meta(heard, reviewed, ask(judge.meta, asking.meta_form(), reviewed).answers)


def settle(run: Run, partition: int) -> None:
    """Turn a partition's verdicts into judgements, and sum up how the judges behave."""
    told, rows, sums = question(run, partition, reading(run, partition, PURPOSE)), [steps.empty(JUDGEMENT)], [report.SUMS.to_frame()]
    pairs = _pairs(run, partition)
    known = storage.read_table(run.place("judged", partition), ["judgement_id"]).to_series()
    for judge in run.config.judges:
        endpoint = run.config.endpoint(judge.endpoint)
        heard, probed, planted = told[judge.name]
        combined = verdicts.combine(heard, judge)
        rows.append(said.rows(combined, pairs, judge, endpoint).select(JUDGEMENT.names))
        name = who.annotator(judge, endpoint)
        sums.append(report.summarise(heard, combined, name))
        sums.append(report.summarise_probes(planted, verdicts.combine(probed, judge), name))
    stated = pl.concat(rows).filter(~pl.col("judgement_id").is_in(known.implode()))  # a published version has it already
    stated = stated.sort(bucket_of("prompt_id"), "judgement_id")  # `number` counts them in this order, whatever the partitions
    storage.write_table(stated, run.place(_JUDGED, partition), JUDGEMENT)
    storage.write_table(pl.concat(sums), run.place(_SUMS, partition))


def number(run: Run, partitions: list[int]) -> list[dict[str, Any]]:
    """Number the judgements of each judge over all partitions, as the rows of a file are. Returns rows of INPUT."""
    counted: dict[tuple[str, str], int] = {}
    for partition in partitions:
        rows = judgements(run, partition)
        place = ["source", "source_uri"]
        schema = {"source": pl.String, "source_uri": pl.String, "_from": pl.Int64}
        begin = pl.DataFrame([(*key, n) for key, n in counted.items()], schema=schema, orient="row")
        own = pl.int_range(pl.len(), dtype=pl.Int64).over(place)
        rows = rows.join(begin, on=place, how="left", maintain_order="left")
        rows = rows.with_columns(source_row=pl.col("_from").fill_null(0) + own).drop("_from")
        storage.write_table(rows, run.place(_JUDGED, partition), JUDGEMENT)
        for source, uri, last in rows.group_by(place).agg(pl.col("source_row").max()).iter_rows():
            counted[source, uri] = last + 1
    return [input_row(source, uri, 0, role=PURPOSE, rows=n, records=n) for (source, uri), n in sorted(counted.items())]


def statistics(run: Run, partitions: list[int]) -> pl.DataFrame:
    """How the judges behave: STATISTIC."""
    if not run.config.judges or not partitions:
        return STATISTIC.to_frame()
    return report.reduce(steps.read_each(run, _SUMS, partitions))
