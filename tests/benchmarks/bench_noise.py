"""Planted label noise on real comparisons: is it found better than by cleanlab, and what does curation win back?

Noise is pair flips: the majority label of a pair is reversed with a given probability, whatever the pair, by a seeded draw. Nothing
that curates is told which pairs, or how many. The real labels have errors of their own, which count as right here.

detection: AUC of `noise_score` against "was flipped", beside cleanlab's label-quality scores from the probabilities of scikit-learn's
logistic regression (C=1) on the same features and the same folds: as they are, standardised, with C chosen by the log loss of an inner
fold. The peer is the best of these three with each of cleanlab's three scores, chosen per set and rate with knowledge of the flips: no
user would know which to take. `pair_folds_` is a second, stronger peer, whose folds cut clusters: it learns from labels of the same
prompt and answers, as `noise_score` does through siblings.

lift: a preference model is trained on the clean, the noisy and the curated training pairs and tested on clean pairs of other clusters
(pairs that share neither prompt nor answer; three-fold). `recovered` = (curated - noisy) / (clean - noisy) in accuracy. Two preference
models: `logistic` (scikit-learn's defaults, on the scoring features as they are) and `reward_head` (a network of one hidden layer that
scores one answer to a prompt, which shares neither features, loss nor class with what scores the noise). `random` drops as many pairs
by chance as the curation takes away in weight; `clean_curated` is the same curation of the clean labels, and says how much of the lift
is not noise removed but a better teacher.

Intervals are 95 % of a paired bootstrap over clusters, seeds averaged within a pair; pooled: sets count alike. Prints one JSON line each.

    python -m tests.benchmarks.bench_noise --data ../shared/data/raw --work /tmp/noise --seeds 3
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline import weights
from pipeline.noise.features import block_sizes, features
from pipeline.noise.folds import fold_of
from pipeline.noise.neighbours import siblings
from pipeline.noise.peers import fit_peers, log_odds
from pipeline.noise.score import fit_reviewer, noise_columns
from tests.benchmarks.noise_data import SETS, Comparisons, load_set, prepare
from tests.benchmarks.preference_models import MODELS

FOLDS = 5
TEST_FOLDS = 3
RESAMPLES = 1000
ONE_VOTE = 2 / 3  # p_chosen of a pair with one vote under Laplace's rule: as sure of one label as of another
LEAST_COST = 0.03  # sets on which noise costs less have nothing to win back
POLICIES = ("weight", "soft", "drop")
RANDOM = {"weight": "random_weight", "soft": "noisy", "drop": "random_drop"}  # the arm that each is compared with

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "raw")
    parser.add_argument("--work", type=Path, default=Path("noise-benchmark"), help="what was ingested and embedded is kept here")
    parser.add_argument("--prepared", type=Path, help="a folder that is ready, instead of --data and --work")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--parts", nargs="+", choices=["detection", "lift"], default=["detection", "lift"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1, 0.2, 0.4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds that no choice was made on")
    asked = parser.parse_args()
    prepared = asked.prepared or prepare(asked.data, asked.work)
    for part in asked.parts:
        work = detection if part == "detection" else lift
        work([load_set(prepared, name) for name in asked.sets], asked.rates, range(asked.first_seed, asked.first_seed + asked.seeds))


def line(**values: object) -> None:
    """One line of the answer."""

    def short(value: object) -> object:
        return [short(one) for one in value] if isinstance(value, list) else round(value, 4) if isinstance(value, float) else value

    print(json.dumps({name: short(value) for name, value in values.items()}), flush=True)


def resamples(data: Comparisons) -> Doubles:
    """How often each pair is drawn, (RESAMPLES + 1, N): the first row is the data itself, the others draw clusters with replacement."""
    _, place = np.unique(data.cluster.to_numpy(), return_inverse=True)
    n = int(place.max()) + 1
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return np.vstack([np.ones(n), drawn])[:, place]


def interval(values: Doubles) -> list[float]:
    """Low and high end of the resampled values (the first is no resample)."""
    return [float(x) for x in np.nanquantile(values[1:], [0.025, 0.975])]


# ---------------------------------------------------------------------------------------------------------------- detection


def detection(sets: list[Comparisons], rates: list[float], seeds: range) -> None:
    """AUC of finding planted flips, ours and the best of cleanlab's."""
    for rate in rates:
        pooled: dict[str, list[Doubles]] = {}
        for data in sets:
            told, differences = detected(data, rate, seeds)
            line(benchmark="noise_detection", set=data.name, rate=rate, seeds=list(seeds), pairs=len(data.first_wins), **told)
            for kind, difference in differences.items():
                pooled.setdefault(kind, []).append(difference)
        for kind, values in pooled.items():
            mean = np.mean(values, axis=0)
            line(benchmark="noise_detection", set=f"{kind}pooled", rate=rate, difference=float(mean[0]), interval=interval(mean))


def detected(data: Comparisons, rate: float, seeds: range) -> tuple[dict[str, object], dict[str, Doubles]]:
    """What is said of one set, and for each kind of peer the resampled differences of AUC; `peers_` compares without siblings."""
    table, drawn = features(data.prompt, data.first, data.second, data.extra), resamples(data)
    mine: dict[str, list[Doubles]] = {"": [], "peers_": []}
    theirs: dict[str, list[Doubles]] = {}
    wrong, gap, mean_score = list[Flags](), 0.0, 0.0
    for seed in seeds:
        flipped = np.random.default_rng([seed, 1]).random(len(table)) < rate
        labels = data.first_wins ^ flipped
        found = review(data, table, np.arange(len(table)), labels)
        score = found.get_column("noise_score").to_numpy()
        mine[""].append(score)
        mine["peers_"].append(1 - found.get_column("peer_probability").to_numpy())
        wrong.append(flipped)
        gap += calibration_gap(score, flipped) / len(seeds)
        mean_score += float(score.mean()) / len(seeds)
        for name, quality in cleanlab_scores(table, labels, data.cluster):
            theirs.setdefault(name, []).append(-quality)

    def area(scores: list[Doubles], rows: Doubles) -> Doubles:
        return np.mean([auc(score, flipped, rows) for score, flipped in zip(scores, wrong, strict=True)], axis=0)

    ours, alone = (area(mine[kind], drawn) for kind in ("", "peers_"))
    told: dict[str, object] = {"auc": float(ours[0]), "peers_auc": float(alone[0]), "mean_score": mean_score, "ece": gap}
    differences = {}
    for kind, is_pairs, own in (("", False, ours), ("peers_", False, alone), ("pair_folds_", True, ours)):
        names = [name for name in theirs if name.startswith("folds_of_pairs") == is_pairs]
        best = max(names, key=lambda name: float(area(theirs[name], drawn[:1])[0]))
        rival = area(theirs[best], drawn)
        differences[kind] = own - rival
        told |= {f"{kind}peer": best, f"{kind}peer_auc": float(rival[0])}
        told |= {f"{kind}difference": float(differences[kind][0]), f"{kind}interval": interval(differences[kind])}
    return told, differences


def auc(score: Doubles, positive: Flags, drawn: Doubles) -> Doubles:
    """Area under the curve for every row of weights: P(a positive scores above a negative), ties half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    found = np.empty(len(drawn))
    for row, weight in enumerate(drawn[:, order]):  # one resample at a time: all at once would not fit into memory
        good, bad = (np.add.reduceat(weight * sign, starts) for sign in (positive[order], ~positive[order]))
        found[row] = (good * (np.cumsum(bad) - bad / 2)).sum() / max(good.sum() * bad.sum(), 1e-300)
    return found


def calibration_gap(score: Doubles, happened: Flags) -> float:
    """Expected calibration error over ten bins."""
    place = np.minimum((score * 10).astype(np.int64), 9)
    return float(np.abs(np.bincount(place, score - happened)).sum() / len(score))


def cleanlab_scores(table: Singles, labels: Flags, cluster: pl.Series) -> list[tuple[str, Doubles]]:
    """cleanlab's quality of each label, by each of its scores and each way of fitting the probabilities."""
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt((table**2).mean(axis=0))
    standard = table / np.where(scale > 0, scale, 1.0)
    fold = fold_of(cluster, FOLDS)
    by_pair = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    found = []
    for name, columns, part in (
        ("as_is", table, fold), ("standardised", standard, fold), ("chosen_c", standard, fold), ("folds_of_pairs", table, by_pair),
    ):  # fmt: skip
        chance = np.zeros(len(labels))
        for k in np.unique(part):
            rest = part != k
            c = best_c(columns[rest], labels[rest], part[rest]) if name == "chosen_c" else 1.0
            model = LogisticRegression(C=c, fit_intercept=False, max_iter=300).fit(columns[rest], labels[rest])
            chance[~rest] = model.predict_proba(columns[~rest])[:, 1]
        both = np.column_stack([1 - chance, chance])
        for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
            found.append((f"{name} {method}", get_label_quality_scores(labels.astype(int), both, method=method)))
    return found


def best_c(columns: Singles, labels: Flags, fold: Rows) -> float:
    """The C of least log loss on held-out folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    held = fold == np.unique(fold)[0]
    if held.all():
        return 1.0

    def loss(c: float) -> float:
        model = LogisticRegression(C=c, fit_intercept=False, max_iter=300).fit(columns[~held], labels[~held])
        return float(log_loss(labels[held], model.predict_proba(columns[held]), labels=[False, True]))

    return min((1e-5, 1e-4, 1e-3, 1e-2, 1e-1), key=loss)


def review(data: Comparisons, table: Singles, rows: Rows, labels: Flags) -> pl.DataFrame:
    """The product's review of some pairs with their labels, all that it learns from."""
    cluster, target, weight = data.cluster.gather(rows), labels.astype(np.float64), np.ones(len(rows))
    fold = fold_of(cluster, FOLDS)
    blocks = block_sizes(data.prompt.shape[1], data.extra.shape[1])
    peers = fit_peers(table[rows], target, weight, fold, folds=FOLDS, blocks=blocks)
    said = log_odds(peers, table[rows], fold)
    balance, mass = siblings(cluster, data.first[rows], data.second[rows], target, weight)
    reviewer = fit_reviewer(said, balance, mass, target, weight, fold, folds=FOLDS)
    return noise_columns(reviewer, said, balance, mass, fold, 2 * target - 1)


# --------------------------------------------------------------------------------------------------------------------- lift


def lift(sets: list[Comparisons], rates: list[float], seeds: range) -> None:
    """Accuracy on clean held-out pairs after training on clean, noisy and curated ones."""
    told = {data.name: (right_answers(data, rates, seeds), resamples(data)) for data in sets}
    for rate in rates:
        for model in MODELS:
            accuracy = {
                name: {
                    arm: drawn @ right / drawn.sum(axis=1) for (of, arm, at), right in answers.items() if of == model and at in (0, rate)
                }
                for name, (answers, drawn) in told.items()
            }
            for name, arms in accuracy.items():
                report(model, name, rate, seeds, [arms])
            costly = [arms for arms in accuracy.values() if arms["clean"][0] - arms["noisy"][0] >= LEAST_COST]
            report(model, "pooled", rate, seeds, list(accuracy.values()))
            if costly:
                report(model, f"pooled, cost at least {LEAST_COST}", rate, seeds, costly)


def report(model: str, name: str, rate: float, seeds: range, sets: list[dict[str, Doubles]]) -> None:
    """One line: mean accuracies over some sets, and of each policy what it wins back and how it compares with chance."""
    mean = {arm: np.mean([arms[arm] for arms in sets], axis=0) for arm in sets[0]}
    cost = mean["clean"] - mean["noisy"]
    told: dict[str, object] = {}
    for policy in POLICIES:
        won, over = (mean[policy] - mean["noisy"]) / np.where(np.abs(cost) > 1e-9, cost, np.nan), mean[policy] - mean[RANDOM[policy]]
        told |= {f"{policy}_recovered": float(won[0]), f"{policy}_recovered_interval": interval(won)}
        told |= {f"{policy}_over_random": float(over[0]), f"{policy}_over_random_interval": interval(over)}
    arms = {arm: float(values[0]) for arm, values in mean.items()}
    line(benchmark="noise_lift", model=model, set=name, sets=len(sets), rate=rate, seeds=list(seeds), cost=float(cost[0]), **arms, **told)


def right_answers(data: Comparisons, rates: list[float], seeds: range) -> dict[tuple[str, str, float], Doubles]:
    """For each model, arm and rate (0: clean labels): how often each pair was judged rightly when held out, (N,) shares over seeds."""
    table = features(data.prompt, data.first, data.second, data.extra)
    found: dict[tuple[str, str, float], Doubles] = {}
    for seed in seeds:
        draw = np.random.default_rng([seed, 2])
        chance = draw.random(len(table))
        test_fold = parted(data.cluster, draw)
        for k in range(TEST_FOLDS):
            train, test = np.flatnonzero(test_fold != k), np.flatnonzero(test_fold == k)
            clean, every = data.first_wins[train], np.ones(len(train))
            arms = {("clean", 0.0): (clean.astype(float), every), ("clean_curated", 0.0): curated(data, table, train, clean)["weight"]}
            for rate in rates:
                noisy = clean ^ (chance[train] < rate)
                arms["noisy", rate] = noisy.astype(float), every
                for policy, (target, weight) in curated(data, table, train, noisy).items():
                    arms[policy, rate] = target, weight
                    if policy != "soft":  # which drops nothing: chance leaves the noisy pairs as they are
                        kept = draw.permutation(len(train)) < round(weight.sum())
                        arms[f"random_{policy}", rate] = noisy.astype(float), kept.astype(float)
            for (arm, rate), (target, weight) in arms.items():
                for model, train_model in MODELS.items():
                    score = train_model(data, table, train, target, weight / weight.mean())
                    right = np.where(score[test] == 0, 0.5, (score[test] > 0) == data.first_wins[test])
                    found.setdefault((model, arm, rate), np.zeros(len(table)))[test] += right / len(seeds)
    return found


def parted(cluster: pl.Series, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Test folds of about equal size that cut no cluster: the largest clusters first, each to the smallest fold."""
    _, place, size = np.unique(cluster.to_numpy(), return_inverse=True, return_counts=True)
    shuffled = draw.permutation(len(size))
    filled, fold = np.zeros(TEST_FOLDS), np.zeros(len(size), dtype=np.int64)
    for one in shuffled[np.argsort(-size[shuffled], kind="stable")]:
        fold[one] = np.argmin(filled)
        filled[fold[one]] += size[one]
    return fold[place]


def curated(data: Comparisons, table: Singles, rows: Rows, labels: Flags) -> dict[str, tuple[Doubles, Doubles]]:
    """Targets (P(first is better)) and weights (0 to 1) of each policy, by the product's score and the product's formulas."""
    pairs = review(data, table, rows, labels).with_columns(p_chosen=ONE_VOTE, tie=False, sources=pl.lit([data.name]))
    told = weights.add_p_soft(pairs, weights.reduce_votes([weights.summarise_votes(pairs)])).with_columns(trust=weights.trust())
    p_soft, trust = (told.get_column(name).to_numpy() for name in ("p_soft", "trust"))
    given, kept = labels.astype(float), (told.get_column("noise_score") <= 0.5).to_numpy().astype(float)
    return {
        "weight": (given, np.maximum(trust, 1e-9)),
        "soft": (np.where(labels, p_soft, 1 - p_soft), np.ones(len(labels))),
        "drop": (given, kept if kept.any() else np.ones(len(labels))),
    }


if __name__ == "__main__":
    main()
