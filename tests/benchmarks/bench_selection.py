"""Selection of a million pairs against what a script would do by hand, in the same run.

    python -m tests.benchmarks.bench_selection --pairs 1000000

Pairs are made up: ids as content gives them, 30 % as many prompt clusters (a third of pairs in clusters of more than four), five sources
of very different size, a tenth of the pairs of two sources, 2000 annotators, two of them a pair, and a score of 0 to 1.

draw: 10 % of the pairs by Gumbel top-k at temperature 2, with noise that each pair's id decides, against numpy: Gumbel noise of a
generator and argpartition, which depends on the order of rows. caps_one: at most four pairs of a cluster, against polars: sort by score,
count within the cluster, filter. caps_three: at most four of a cluster, 100,000 of a source and 300 of an annotator, where a pair needs
room everywhere; no peer does that, so the ratio is to the same polars filter. stage: summarise, reduce and apply of caps, sample and
mixture together, 16 partitions; seconds for a million pairs, and the memory that it adds. Each is the best of `--repeats`. Prints one
JSON line each.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from pipeline.config import PipelineConfig
from pipeline.config.selection import CapsConfig
from pipeline.selection import select
from pipeline.selection.caps import beyond_caps
from pipeline.selection.gumbel import best_first, keys

PARTITIONS = 16
SOURCES = ["arena", "crowd", "panel", "forum", "tests"]


def made_up(pairs: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs sorted by id, and pair_id, annotator of the two who judged each."""
    rng = np.random.default_rng(seed)
    halves = [pl.Series(rng.integers(0, 2**63, pairs, dtype=np.uint64) * 2) for _ in range(2)]
    hexed = pl.select(pl.concat_str(_hex(halves[0]), _hex(halves[1]))).to_series()
    clusters = np.minimum(rng.integers(0, max(1, pairs // 3), pairs), (pairs // 3 * rng.beta(0.7, 1, pairs)).astype(np.int64))
    first = rng.choice(len(SOURCES), pairs, p=[0.6, 0.2, 0.1, 0.06, 0.04])
    second = np.where(rng.random(pairs) < 0.1, rng.integers(0, len(SOURCES), pairs), first)
    names = pl.Series(SOURCES)
    table = pl.DataFrame({"pair_id": hexed, "prompt_cluster_id": _hex(pl.Series(clusters))})
    table = table.with_columns(
        prompt_id=pl.col("pair_id"),
        sources=pl.concat_list(names.gather(first), names.gather(second)).list.unique().list.sort(),
        p_soft=pl.Series(rng.random(pairs)),
        prompt_language=pl.lit("en"),
        prompt_tokens=pl.lit(50, pl.Int64),
        chosen_tokens=pl.lit(200, pl.Int64),
        rejected_tokens=pl.lit(150, pl.Int64),
    ).sort("pair_id")
    who = rng.integers(0, 2000, (2, pairs))
    voters = pl.concat(table.select("pair_id", annotator=pl.Series(row).cast(pl.String)) for row in who)
    return table, voters


def _hex(numbers: pl.Series) -> pl.Series:
    return pl.Series(np.char.mod("%016x", numbers.to_numpy()))


def best(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def told(name: str, pairs: int, ours: float, peer: float | None = None, **more: float) -> None:
    """Print one line."""
    line: dict[str, object] = {"benchmark": "selection", "what": name, "pairs": pairs, "seconds": round(ours, 3)}
    if peer is not None:
        line |= {"peer_seconds": round(peer, 3), "times_the_peer": round(ours / peer, 2)}
    print(json.dumps(line | more), flush=True)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    table, voters = made_up(given.pairs)
    ids, scores, rows = table["pair_id"], table["p_soft"].to_numpy(), given.pairs // 10

    def by_numpy() -> object:
        z = (scores - scores.mean()) / scores.std()
        return np.argpartition(-(z / 2 + np.random.default_rng(0).gumbel(size=scores.size)), rows)[:rows]

    ours = best(given.repeats, lambda: best_first(ids, 0, keys(ids, 0, scores=scores, temperature=2.0))[:rows])
    told("draw", given.pairs, ours, best(given.repeats, by_numpy))

    who = voters.sort("pair_id", "annotator").unique().group_by("pair_id").agg(annotators="annotator")
    joined = table.join(who, on="pair_id", how="left").rename({"prompt_cluster_id": "cluster", "p_soft": "cap_score"})

    def by_polars() -> object:
        best_first = joined.sort("cap_score", descending=True)
        return best_first.filter(pl.int_range(pl.len()).over("cluster") < 4)

    peer = best(given.repeats, by_polars)
    for name, caps in (
        ("caps_one", CapsConfig(prompt_cluster=4)),
        ("caps_three", CapsConfig(prompt_cluster=4, source=100_000, annotator=300)),
    ):
        told(name, given.pairs, best(given.repeats, lambda caps=caps: beyond_caps(joined, caps, 0)), peer)  # type: ignore[misc]

    selection = {
        "caps": {"prompt_cluster": 4, "annotator": 3000},
        "sample": {"by": "p_soft", "share": 0.3},
        "mixture": {"weights": {"arena": 0.5, "crowd": 0.3, "rest": 0.2}},
    }
    config = PipelineConfig.model_validate({"dataset": "d", "sources": [{"name": n, "uri": "x"} for n in SOURCES], "selection": selection})
    checked = select.check(config)
    assert checked is not None
    cut = [table[start::PARTITIONS].sort("pair_id") for start in range(PARTITIONS)]
    voted = [voters.join(part, on="pair_id", how="semi") for part in cut]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def stage() -> object:
        found = select.reduce([select.summarise(part, checked, some) for part, some in zip(cut, voted, strict=True)], checked)
        return [select.apply(part, left) for part, left in zip(cut, found.left, strict=True)]

    seconds = best(1, stage)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    told("stage", given.pairs, seconds, added_mb=added)


if __name__ == "__main__":
    main()
