"""Why the chosen answer is better: rationales that are measured, stated in the data, or written by a language model, and what follows.

Nothing here decides about data: that is `pipeline.rationale`. What is measured of a pair comes without a model; a written rationale is
asked for only where the data brings none that holds, and a second call must tell the label from either.
"""

from collections.abc import Callable

import polars as pl

from flows import steps, vectors
from flows.asking import Ask, reading
from flows.steps import Run
from pipeline import pairing, rules, storage
from pipeline.config import EndpointConfig
from pipeline.identity import content_hash
from pipeline.llm.tables import Form
from pipeline.rationale import asking, checks, doubt, factors, figures, recovery, repeats, stated, table, units
from pipeline.rationale import reading as read_drafts
from pipeline.schemas import JUDGEMENT, RATING, RATIONALE
from pipeline.similarity import self_join
from pipeline.stage import ASKED, StageResult, bucket_of
from pipeline.statistics.table import STATISTIC
from pipeline.store import Store

PURPOSE = "rationales"
_MOVED = "moved-reasons"


def prepare(run: Run, partition: int, rounds: int) -> None:
    """Set out the pairs that are to get a rationale, what is measured of them, and the reasons of votes that count in other partitions."""
    pairs = storage.read_table(run.place(f"pairs-{rounds}", partition))
    storage.write_table(pairs, run.place("argued", partition))
    storage.write_table(factors.summarise_factors(pairs), run.place("factors", partition))
    judged = _judged(run, partition)
    moved = judged.filter(pl.col("merged_into").is_not_null() & pl.col("rationale").is_not_null())
    storage.write_table(moved, run.place(_MOVED, partition))


def reduce(run: Run, partitions: list[int]) -> None:
    """How far all pairs differ, and all reasons of votes that were merged into another pair."""
    storage.write_table(factors.reduce_factors(steps.read_each(run, "factors", partitions)), run.whole("factors"))
    moved = pl.concat([steps.empty(JUDGEMENT), *steps.read_each(run, _MOVED, partitions)])
    storage.write_table(moved, run.whole(_MOVED))


def _judged(run: Run, partition: int) -> pl.DataFrame:
    judged = storage.read_table(run.place("judged", partition), JUDGEMENT.names)
    judged = judged.filter(~pl.col("source").str.starts_with(ASKED))  # what a judge was asked for is nobody's reason for a vote
    return pairing.mark_merged(judged, storage.read_table(run.whole("counted")))


def question(run: Run, partition: int, ask: Ask) -> pl.DataFrame:
    """All rationales but measured ones: RATIONALE of a partition's pairs, as far as `ask` has answers."""
    config, pairs = run.config.rationales, storage.read_table(run.place("argued", partition))
    drafts = _verified(run, checks.check(_stated(run, partition, pairs), pairs, config), pairs, ask)
    if config.endpoint is not None:
        have = drafts.filter(pl.col("accepted") & ~pl.lit(config.units))  # statements are held against those of a stated rationale
        done = have.get_column("pair_id").unique()
        wanted = pairs.filter(~pl.col("pair_id").is_in(done.implode()))
        if config.only_if is not None:
            wanted = wanted.filter(rules.holds(wanted, rules.ONLY_IF, config.only_if))
        written = [_verified(run, _written(run, wanted, kind, ask), pairs, ask) for kind in config.asked if kind != "factors"]
        drafts = pl.concat([drafts, *written])
    return _with_units(run, drafts, pairs, ask) if config.units else drafts


def _stated(run: Run, partition: int, pairs: pl.DataFrame) -> pl.DataFrame:
    """What the data says of the pairs; of several that hold alike, one a pair is put to a reader."""
    if not run.config.rationales.stated:
        return steps.empty(RATIONALE)
    judged, moved = _judged(run, partition), storage.read_table(run.whole(_MOVED))
    elsewhere = moved.filter(pl.col("merged_into").is_in(pairs.get_column("pair_id").implode()))
    place = run.place("ratings", partition)
    ratings = storage.read_table(place, RATING.names) if storage.exists(place) else steps.empty(RATING)
    return stated.stated(pl.concat([judged.filter(pl.col("merged_into").is_null()), elsewhere]), ratings, pairs)


def _written(run: Run, pairs: pl.DataFrame, kind: str, ask: Ask) -> pl.DataFrame:
    """One kind of rationale for each of the pairs; what cannot be used is asked for again."""
    config, endpoint = run.config.rationales, _writer(run)
    form, drafts = asking.form(kind, config), steps.empty(RATIONALE)
    forms = [recovery.form()] * 2 if config.verify and kind in checks.ARGUED else []
    forms += [units.SPLIT_FORM, units.CHECK_FORM, units.ENTAIL_FORM] if config.units else []
    reader = [(_reader(run).name, later) for later in forms]
    for sample in range(1 + config.repairs):
        asked = asking.ask(pairs, kind, config, endpoint, sample, drafts if sample else None)
        if asked.kept.is_empty() and sample:
            break
        brought = ask(endpoint.name, form, asked.kept, reader)
        rows = read_drafts.read(asked.kept, brought.answers, endpoint.model, config, brought.failures)
        left = [] if sample else [read_drafts.refused(asked.dropped, endpoint.model)]
        drafts = pl.concat([drafts, *left, checks.check(rows, pairs, config)])
    return drafts


def _verified(run: Run, drafts: pl.DataFrame, pairs: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    """The rationales, with what readers who do not know the label take from them, in both orders."""
    config = run.config.rationales
    if not config.verify or config.endpoint is None:
        return drafts
    reader = _reader(run)
    for chosen_first in (True, False):
        asked = recovery.ask(drafts, pairs, config, reader, chosen_first)
        brought = ask(reader.name, recovery.form(), asked.kept)
        drafts = recovery.read(drafts, asked.kept, brought.answers)
    return recovery.settle(drafts)


def _with_units(run: Run, drafts: pl.DataFrame, pairs: pl.DataFrame, ask: Ask) -> pl.DataFrame:
    """The rationales with precision and recall over their statements."""
    reader = _reader(run)

    def said(asked: StageResult, form: Form, read: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        return read(asked.kept, ask(reader.name, form, asked.kept).answers)

    split = said(units.ask_split(drafts, reader), units.SPLIT_FORM, units.read_split)
    checked = said(units.ask_check(drafts, split, pairs, reader), units.CHECK_FORM, units.read_check)
    entailed = said(units.ask_entailed(drafts, split, reader), units.ENTAIL_FORM, units.read_check)
    return units.add_units(drafts, split, checked, entailed).select(RATIONALE.names)


def _writer(run: Run) -> EndpointConfig:
    return run.config.endpoint(str(run.config.rationales.endpoint))


def _reader(run: Run) -> EndpointConfig:
    return run.config.endpoint(str(run.config.rationales.verifier or run.config.rationales.endpoint))


def settle(run: Run, partition: int) -> None:
    """Write a partition's rationales, and the texts of those whose near copies are looked for."""
    pairs, config = storage.read_table(run.place("argued", partition)), run.config.rationales
    measured = factors.factors(pairs, storage.read_table(run.whole("factors"))) if "factors" in config.asked else steps.empty(RATIONALE)
    drafts = pl.concat([measured, question(run, partition, reading(run, partition, PURPOSE))])
    storage.write_table(drafts, run.place("drafts", partition), RATIONALE)
    texts = checks.near_copies_texts(drafts)
    ids = content_hash(texts.get_column("text"), "text")
    storage.write_table(texts.with_columns(ids.alias("text_id"), bucket=bucket_of("prompt_id")), run.place("said", partition))


def find_copies(run: Run, partitions: list[int]) -> None:
    """Count, for each rationale, the other prompts with one that says the same."""
    said = pl.concat(steps.read_each(run, "said", partitions))
    store, model = Store(run.store), steps.encoder(run.config.embed)
    texts = said.select("bucket", "text_id", "text").unique(["bucket", "text_id"], keep="any").sort("bucket", "text_id")
    vectors.embed_missing(store, model, texts, lambda _: None)
    ids = texts.get_column("text_id").unique().sort()
    edges = pl.DataFrame(schema={"left": pl.String, "right": pl.String})
    if len(ids) > 1:
        index, found = vectors.needed(store, model, ids)
        rows = pl.DataFrame({"text_id": ids}).join(index, on="text_id", how="left", maintain_order="left").get_column("index")
        near = self_join(found[rows.to_numpy()], run.config.deduplicate.min_cosine, threads=run.config.embed.threads)
        edges = pl.DataFrame({"left": ids.gather(near.left), "right": ids.gather(near.right)})
    storage.write_table(repeats.count_repeats(said.drop("text", "bucket"), edges), run.whole("copies"))


def sum_up(run: Run, partitions: list[int]) -> None:
    """Settle near copies, and what the rationales of all partitions tell: how reliable their verdicts are, and the statistics."""
    counts, verdicts, sums, parts = storage.read_table(run.whole("copies")), [], [], []
    for partition in partitions:
        drafts = checks.settle_copies(storage.read_table(run.place("drafts", partition)), counts)
        storage.write_table(drafts, run.place("rationales", partition), RATIONALE)
        verdicts.append(doubt.summarise_verdicts(storage.read_table(run.place("argued", partition)), drafts))
        sums.append(figures.summarise(drafts))
        parts.append(units.summarise_units(drafts.with_columns(f1=units.f1())))
    storage.write_table(doubt.reduce_verdicts(verdicts), run.whole("verdict-rates"))
    told = pl.concat([STATISTIC.to_frame(), figures.reduce(sums), units.reduce_units(parts)])
    storage.write_table(told, run.whole("rationale-statistics"))


def add(run: Run, partition: int, rounds: int) -> dict[str, int]:
    """Give a partition's pairs their rationale and what it tells, and hand them to the next round of rules.

    Returns:
        How many pairs were to have one (`pairs`), and how many have none for which reason.
    """
    drafts = storage.read_table(run.place("rationales", partition))
    argued = storage.read_table(run.place("argued", partition))
    pairs = table.prefer(table.add_signals(argued, drafts), drafts, run.config.rationales.asked)
    if run.config.rationales.verify and run.config.rationales.endpoint is not None:
        rates = storage.read_table(run.whole("verdict-rates"))
        pairs = doubt.add_rationale_noise(pairs.drop("rationale_noise_score"), drafts, rates)
    storage.write_table(pairs.select(argued.columns), run.place(f"pairs-{rounds + 1}", partition))
    without = pairs.filter(pl.col("rationale").is_null()).select(pl.col("rationale_missing").fill_null("not_asked"))
    wanted = pairs.height if run.config.rationales.asked else 0
    return {"pairs": wanted, **(dict(without.group_by("rationale_missing").len().iter_rows()) if wanted else {})}


def rationales(run: Run, partition: int) -> pl.DataFrame:
    """A partition's rationales in their published order; no rows where it has none."""
    place = run.place("rationales", partition)
    drafts = storage.read_table(place) if storage.exists(place) else steps.empty(RATIONALE)
    return drafts.sort("prompt_id", "pair_id", "kind", "rationale_id")


def statistics(run: Run) -> pl.DataFrame:
    """What all rationales come to: STATISTIC."""
    place = run.whole("rationale-statistics")
    return storage.read_table(place) if storage.exists(place) else STATISTIC.to_frame()
