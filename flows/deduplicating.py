"""Near duplicates of the whole data set: what every partition gives, the search, and what every partition gets back.

Nothing here decides about data: the search is `pipeline.similarity` and `pipeline.dedup`. Found hits are kept in the store, so
that a second run, or one with a higher threshold, searches for nothing.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from flows import steps, vectors
from flows.steps import Run
from pipeline import storage
from pipeline.consensus.votes import absorbed_votes
from pipeline.dedup import apart, facts, groups, hits, lexical, merging, pairs
from pipeline.similarity import cosine_rows, cross_join, self_join
from pipeline.stage import partition_buckets
from pipeline.store import Store

HITS = "hits"
ROLES = {"prompt": ["prompt_text"], "answer": ["low_text", "high_text"]}
_PAIRS_AT_ONCE = 50_000  # pairs of texts compared at a time: 80 MB of vectors, and at most 100,000 texts


def search(run: Run, partitions: list[int], role: str) -> int:
    """Find the near duplicates among all prompts, or all answers: scratch table `near-<role>` (left, right).

    Returns:
        How many texts were compared with all others now; between the rest it was known.
    """
    config = run.config.deduplicate
    wanted = _wanted(run, partitions, role)
    store, fingerprint = Store(run.store), _fingerprint(run, role)
    compared = _extend(run, store, fingerprint, wanted)
    found = hits.edges(_known_hits(store, fingerprint), wanted, _floor(run))
    close = found.filter(pl.col("cosine") >= config.min_cosine).select("left", "right")
    bands = [storage.read_table(run.place("bands", p)).filter(pl.col("text_id").is_in(wanted.implode())) for p in partitions]
    # Whatever is nearly close enough is a candidate for being alike in its letters too: MinHash alone finds nine in ten.
    maybe = pl.concat([lexical.candidates(bands), found.select("left", "right")]).unique().join(close, on=["left", "right"], how="anti")
    alike = pl.concat(_jaccard(run, partitions, part) for part in _slices(maybe.sort("left", "right")))
    alike = alike.filter(pl.col("jaccard") >= config.min_jaccard)
    edges = pl.concat([close, alike.select("left", "right")]).sort("left", "right")
    storage.write_table(edges, run.whole(f"near-{role}"))
    return compared


def count_new(run: Run, partitions: list[int], role: str) -> int:
    """How many texts `search` would compare with all others."""
    known = Store(run.store).keys(HITS, _fingerprint(run, role), 0, 255)["key"].to_pylist()
    return len(hits.new_members(_wanted(run, partitions, role), pl.Series(known, dtype=pl.String)))


def _wanted(run: Run, partitions: list[int], role: str) -> pl.Series:
    """The texts of a role that have a vector of their own, distinct and sorted."""
    keys = [storage.read_table(run.place("keys", p), ROLES[role]) for p in partitions]
    texts = [storage.read_table(run.place("texts", p), ["text_id"]).to_series() for p in partitions]
    named = pl.concat(table.get_column(name) for table in keys for name in ROLES[role]).unique()
    return named.filter(named.is_in(pl.concat(texts).unique().implode())).sort()


def _extend(run: Run, store: Store, fingerprint: str, wanted: pl.Series) -> int:
    """Compare new texts with each other and with all that were compared before, and store what is found."""
    old = pl.Series(store.keys(HITS, fingerprint, 0, 255)["key"].to_pylist(), dtype=pl.String).sort()
    new = hits.new_members(wanted, old)
    if new.is_empty():
        return 0
    before, found = _stored(run, old)
    if not found.all():  # embeddings were lost: what those texts were compared with cannot be completed, so all is done again
        store.drop(HITS, fingerprint)
        return _extend(run, store, fingerprint, wanted)
    added = _vectors(run, new)
    threads = run.config.embed.threads
    among, across = self_join(added, _floor(run), threads=threads), cross_join(added, before, _floor(run), threads=threads)
    store.write(HITS, fingerprint, hits.rows_of(new, among, across, old))
    store.compact(HITS, fingerprint)
    return len(new)


def group(run: Run, partitions: list[int]) -> None:
    """Decide which pairs are merged into which, and which near duplicates say something else."""
    config = run.config.deduplicate
    keys = pl.concat(storage.read_table(run.place("keys", p)) for p in partitions)
    near = {role: storage.read_table(run.whole(f"near-{role}")) for role in ROLES}
    found = pairs.candidate_pairs(keys, near["prompt"], near["answer"])
    scores = _scores(run, partitions, pairs.compared_texts(found))
    scored = pairs.score_pairs(found, scores, config.min_cosine, config.min_jaccard)
    own = apart.own_answers(scored).join(scores, on=["left", "right"], how="anti", maintain_order="left")
    near_pairs = apart.told_apart(scored, pl.concat([scores, _scores(run, partitions, own)]))
    compared = pairs.compared_texts(near_pairs)
    differing = compared.filter(_differences(run, partitions, compared).is_not_null())
    edges = groups.mark_conflicts(near_pairs, keys, differing)
    merges = groups.representatives(keys, edges.filter(~pl.col("conflict") if config.merge else pl.lit(False)).drop("conflict"))
    storage.write_table(merges, run.whole("merges"))
    storage.write_table(groups.conflicting_pairs(edges, merges), run.whole("conflicts"))
    _gather(run, partitions, merges)


def _gather(run: Run, partitions: list[int], merges: pl.DataFrame) -> None:
    """What absorbed pairs add to others, their votes, and the answers of their representatives, over all partitions."""
    absorbed, answers, moved = [], [], []
    for partition in partitions:
        tally = storage.read_table(run.place("tally", partition), merging.COLUMNS)
        absorbed.append(merging.summarise_absorbed(tally, merges))
        answers.append(merging.summarise_answers(tally, merges))
        moved.append(absorbed_votes(storage.read_table(run.place("votes", partition)), merges))
    storage.write_table(pl.concat(absorbed), run.whole("absorbed"))
    storage.write_table(merging.name_answers(merges, answers), run.whole("counted"))
    storage.write_table(pl.concat(moved), run.whole("moved-votes"))


def merge(run: Run, partition: int) -> None:
    """Add the votes of absorbed pairs to their representatives."""
    whole = {name: storage.read_table(run.whole(name)) for name in ("merges", "absorbed", "conflicts")}
    tally = storage.read_table(run.place("tally", partition))
    merged = merging.apply_merges(tally, whole["merges"], whole["absorbed"], whole["conflicts"])
    storage.write_table(merged, run.place("merged", partition))


def _floor(run: Run) -> float:
    """The least cosine that hits are stored with."""
    return min(run.config.deduplicate.floor, run.config.deduplicate.min_cosine)


def _fingerprint(run: Run, role: str) -> str:
    """What hits depend on besides their texts. They are the data set's own: all its texts are compared, and no others."""
    about = (steps.encoder(run.config.embed).fingerprint, role, run.dataset, repr(_floor(run)))
    return hashlib.blake2b("\n".join(about).encode(), digest_size=16).hexdigest()


def _known_hits(store: Store, fingerprint: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(store.read(HITS, fingerprint, 0, 255, hits.HITS)))


def _vectors(run: Run, ids: pl.Series) -> npt.NDArray[np.float16]:
    """The vectors of texts, in the order of their distinct ids."""
    matrix, found = _stored(run, ids)
    vectors.require(Store(run.store), ids.filter(pl.Series(~found)))
    return matrix


def _stored(run: Run, ids: pl.Series) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """The stored vectors of texts, in the order of their distinct ids, and which of them are there."""
    model = steps.encoder(run.config.embed)
    matrix, found = np.zeros((len(ids), model.dimensions), np.float16), np.zeros(len(ids), bool)
    rows = pl.DataFrame({"text_id": ids, "row": np.arange(len(ids))})
    for first, last in partition_buckets(run.partitions):
        index, some = vectors.stored(Store(run.store), model, ids, first, last)
        place = index.join(rows, on="text_id", how="left", maintain_order="left").get_column("row").to_numpy()
        matrix[place], found[place] = some[index.get_column("index").to_numpy()], True
    return matrix, found


def _texts(run: Run, partitions: list[int], ends: pl.DataFrame) -> pl.DataFrame:
    """The texts (text_id, text) that pairs of texts (left, right) name."""
    ids = pl.concat([ends.get_column("left"), ends.get_column("right")]).unique().implode()
    parts = [storage.read_table(run.place("texts", p), ["text_id", "text"]).filter(pl.col("text_id").is_in(ids)) for p in partitions]
    return pl.concat(parts).unique("text_id", keep="any")


def _slices(ends: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Pairs of texts, as many as are compared at once: their texts need not all fit in memory."""
    yield from ends.iter_slices(_PAIRS_AT_ONCE) if ends.height else [ends]


def _jaccard(run: Run, partitions: list[int], ends: pl.DataFrame) -> pl.DataFrame:
    return lexical.jaccard(ends, _texts(run, partitions, ends), run.config.deduplicate.shingles)


def _scores(run: Run, partitions: list[int], ends: pl.DataFrame) -> pl.DataFrame:
    """Pairs of texts (left, right) with both their scores; none where one is no text with a vector."""
    ids = pl.concat([ends.get_column("left"), ends.get_column("right")]).unique()
    texts = [storage.read_table(run.place("texts", p), ["text_id"]).to_series() for p in partitions]
    ids = ids.filter(ids.is_in(pl.concat(texts).unique().implode())).sort()
    known = ends.filter(pl.all_horizontal(pl.col("left", "right").is_in(ids.implode())))
    matrix = _vectors(run, ids)
    parts = []
    for part in _slices(known):
        left, right = (matrix[ids.search_sorted(part[name]).to_numpy()] for name in ("left", "right"))
        parts.append(_jaccard(run, partitions, part).with_columns(cosine=cosine_rows(left, right)))
    return pl.concat(parts)


def _differences(run: Run, partitions: list[int], ends: pl.DataFrame) -> pl.Series:
    """What two texts say differently, for each pair of texts (left, right); null where nothing, or where one is no text."""
    parts = []
    for part in _slices(ends):
        texts = _texts(run, partitions, part)
        for name in ("left", "right"):
            part = part.join(texts.rename({"text_id": name, "text": f"{name}_said"}), on=name, how="left", maintain_order="left")
        parts.append(facts.difference(part["left_said"], part["right_said"]))
    return pl.concat(parts)
