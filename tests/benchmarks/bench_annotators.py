"""Consensus of simulated annotators, whose truth is known: our vote models against crowd-kit's.

For each seed a world of `tests.benchmarks.annotators`, which is none of the models. A method says how likely the high side is the
better one; the mass it gives to ties is split in half, for all methods alike. Scores: accuracy (an even call is half right), Brier,
ECE in ten bins of both orders of each pair (MORE's form). Pairs of equals, in the variant that has them, are left out of the scores.

Peers: crowd-kit's DawidSkene and MACE, with ties as a third label and with ties left out, as the user of a two-label method would;
NoisyBradleyTerry, on the answers as items, the one shown first to the left, a tie as one vote each way. At their defaults but
for DawidSkene's iterations, 100, as for ours up to 300. Majority is ours: votes for a side, one more for each, ties left out.

Prints a JSON line a method and seed, then for each peer the pooled difference to --ours, peer minus ours for Brier and ours minus
peer for accuracy, so that above 0 is for us, with a 95 % interval (bootstrap of the pairs within each seed), and on how many
seeds ours is behind. Main table: ten minutes on one core, nearly all of them MACE; with --peers none, half a minute.

    python -m tests.benchmarks.bench_annotators
    python -m tests.benchmarks.bench_annotators --variant few_ties --seeds 5 --peers fast
"""

import argparse
import functools
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit, logit

from pipeline.consensus.dawid_skene import DawidSkene
from pipeline.consensus.em import Latent, fit, posteriors
from pipeline.consensus.graded import Graded
from pipeline.consensus.patterns import merge, number_annotators, patterns_of
from tests.benchmarks.annotators import World, simulate

Double = npt.NDArray[np.float64]
Method = Callable[[World], Double]

VARIANTS: dict[str, dict[str, float]] = {
    "main": {},
    "few_ties": {"tie_peak": 0.1},
    "many_ties": {"tie_peak": 0.66, "equal_share": 0.2},
    "no_bias": {"biased_share": 0.0},
    "strong_bias": {"first": 0.8},
    "annotators_20": {"annotators": 20},
    "annotators_200": {"annotators": 200},
    "annotators_500": {"annotators": 500},
    "pairs_300": {"pairs": 300},
    "three_votes": {"most_votes": 3},
}
RESAMPLES = 2000


def majority_share(world: World) -> Double:
    """(n_high + 1) / (n_high + n_low + 2)."""
    counts = world.votes.group_by("pair_id").agg(high=(pl.col("vote") == 1).sum(), low=(pl.col("vote") == -1).sum()).sort("pair_id")
    return counts.select((pl.col("high") + 1) / (pl.col("high") + pl.col("low") + 2)).to_series().to_numpy()


def latent(make: Callable[[pl.DataFrame], "Latent[object]"], world: World) -> Double:
    """One of our latent models, fitted to the world."""
    numbers = number_annotators([world.votes])
    fitted = fit(merge([patterns_of(world.votes, numbers)], numbers), make(numbers), tolerance=1e-5, most_iterations=300)
    found = posteriors(world.votes, numbers, fitted.log_tables, fitted.log_prior, fitted.signs)
    return found.select(pl.col("p_high") + pl.col("p_tie") / 2).to_series().to_numpy()


def crowdkit_labels(name: str, ties: bool, world: World, **settings: int) -> Double:
    """crowd-kit's DawidSkene or MACE on tasks, workers and labels."""
    import crowdkit.aggregation

    votes = world.votes if ties else world.votes.filter(pl.col("vote") != 0)
    table = votes.select(task="pair_id", worker="annotator", label="vote").to_pandas()
    found = getattr(crowdkit.aggregation, name)(**settings).fit_predict_proba(table)
    found = found.reindex(index=world.truth["pair_id"].to_list(), columns=[-1, 0, 1]).fillna(0.0)
    unseen = 1.0 - found.sum(axis=1)  # a pair without a vote but ties
    return np.asarray(found[1] + (found[0] + unseen) / 2)


def noisy_bradley_terry(world: World) -> Double:
    """crowd-kit's NoisyBradleyTerry; every answer is an item, compared with one other only."""
    from crowdkit.aggregation import NoisyBradleyTerry

    ways = [world.votes.filter(pl.col("vote") != 0)]
    ways += [world.votes.filter(pl.col("vote") == 0).with_columns(vote=pl.lit(way, pl.Int8)) for way in (-1, 1)]
    low, high = pl.col("pair_id") + " low", pl.col("pair_id") + " high"
    table = pl.concat(ways).select(
        worker="annotator",
        left=pl.when("low_first").then(low).otherwise(high),
        right=pl.when("low_first").then(high).otherwise(low),
        label=pl.when(pl.col("vote") == 1).then(high).otherwise(low),
    )
    scores = NoisyBradleyTerry().fit_predict(table.to_pandas())
    pairs = world.truth["pair_id"].to_list()
    at = [scores.reindex([f"{pair} {side}" for pair in pairs]).to_numpy().clip(1e-9, 1 - 1e-9) for side in ("low", "high")]
    return np.asarray(expit(logit(at[1]) - logit(at[0])))


OURS: dict[str, Method] = {
    "graded": functools.partial(latent, Graded),
    "dawid_skene": functools.partial(latent, DawidSkene),
    "majority": majority_share,
}
FAST: dict[str, Method] = {
    "crowdkit_dawid_skene": functools.partial(crowdkit_labels, "DawidSkene", True, n_iter=100),
    "crowdkit_dawid_skene_no_ties": functools.partial(crowdkit_labels, "DawidSkene", False, n_iter=100),
}
SLOW: dict[str, Method] = {
    "crowdkit_mace": functools.partial(crowdkit_labels, "MACE", True),
    "crowdkit_mace_no_ties": functools.partial(crowdkit_labels, "MACE", False),
    "crowdkit_noisy_bradley_terry": noisy_bradley_terry,
}
PEERS = {"none": OURS, "fast": OURS | FAST, "all": OURS | FAST | SLOW}


def rights(p: Double, high: Double) -> Double:
    """1, 0, or a half for an even call, for each pair."""
    return np.where(p == 0.5, 0.5, (p > 0.5) == (high == 1.0))


def calibration_error(p: Double, high: Double, bins: int = 10) -> float:
    """ECE, MORE's form: sum over bins of |sum p - sum y| / N, each pair in both orders."""
    p, y = np.concatenate([p, 1.0 - p]), np.concatenate([high, 1.0 - high])
    at = np.minimum((p * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(at, p - y, bins)).sum() / len(p))


def interval(differences: list[Double]) -> tuple[float, float, float]:
    """Mean of the pairs of all seeds, with a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    for values in differences:
        total += (rng.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES) * values).sum(axis=1)
    low, high = np.quantile(total / sum(map(len, differences)), [0.025, 0.975])
    return float(np.concatenate(differences).mean()), float(low), float(high)


def compare(
    ours: str, right: dict[str, list[Double]], loss: dict[str, list[Double]], ece: dict[str, list[float]]
) -> list[dict[str, object]]:
    """A row a method: means, and the differences to ours."""
    rows: list[dict[str, object]] = []
    for method in right:
        row: dict[str, object] = {
            "method": method,
            "accuracy": round(float(np.mean([values.mean() for values in right[method]])), 4),
            "brier": round(float(np.mean([values.mean() for values in loss[method]])), 4),
            "ece": round(float(np.mean(ece[method])), 4),
        }
        if method != ours:
            for name, gains in (
                ("accuracy_gain", [a - b for a, b in zip(right[ours], right[method], strict=True)]),
                ("brier_gain", [b - a for a, b in zip(loss[ours], loss[method], strict=True)]),
            ):
                mean, low, high = interval(gains)
                row[name] = [round(mean, 4), round(low, 4), round(high, 4)]
                row[f"{name}_seeds_behind"] = sum(float(values.mean()) < -1e-12 for values in gains)
        rows.append(row)
    return rows


def main() -> None:
    """Run the worlds, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100, help="the models were tuned looking at seeds 0 to 19")
    parser.add_argument("--variant", choices=VARIANTS, nargs="+", default=["main"])
    parser.add_argument("--peers", choices=PEERS, default="all")
    parser.add_argument("--ours", choices=OURS, default="dawid_skene")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # crowd-kit's

    methods = PEERS[arguments.peers]
    for variant in arguments.variant:
        right, loss, ece = ({method: [] for method in methods} for _ in range(3))
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            world = simulate(seed, **VARIANTS[variant])
            sided = (world.truth["better"] != 0).to_numpy()
            high = (world.truth["better"] == 1).to_numpy().astype(np.float64)[sided]
            for name, method in methods.items():
                began = time.perf_counter()
                p = method(world)[sided]
                seconds = time.perf_counter() - began
                right[name].append(rights(p, high))
                loss[name].append((p - high) ** 2)
                ece[name].append(calibration_error(p, high))
                row = {"accuracy": right[name][-1].mean(), "brier": loss[name][-1].mean(), "ece": ece[name][-1], "seconds": seconds}
                print(json.dumps({"variant": variant, "seed": seed, "method": name} | {k: round(float(v), 4) for k, v in row.items()}))
        for summary in compare(arguments.ours, right, loss, ece):
            print(json.dumps({"variant": variant, "seeds": arguments.seeds} | summary), flush=True)


if __name__ == "__main__":
    main()
