"""Does a judge that must argue without the label find more planted label noise than the model-free score?

A share of the majority labels of real comparisons is reversed by a seeded draw, as in `bench_noise`. A scripted judge that is not told
the label writes a rationale for the truly better answer with probability `--accuracy`, whatever the pair, and says which one it is for. It
is a server on 127.0.0.1, asked by the product's own client with its own templates and parsing. Nothing else knows what was flipped: the
judge's accuracy is estimated by `pipeline.rationale.doubt` from labels that are partly wrong.

Prints one JSON line a set and one for all: AUC of `noise_score` and of `rationale_noise_score` against "was flipped", their difference
with its 95 % interval by a paired bootstrap over clusters (sets count alike), the log losses, and the accuracy that was estimated. The
scripted judge's mistakes are independent of all else, which those of a real one are not: the lift is what the fusing wins back of
evidence whose quality it is not told, not what a certain model would bring.

    python -m tests.benchmarks.bench_rationale_noise --data ../shared/data/raw --work /tmp/noise --seeds 3
"""

import argparse
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.config import BudgetConfig, EndpointConfig, RationalesConfig
from pipeline.identity import content_hash
from pipeline.llm.budget import Budget
from pipeline.llm.client import LanguageModel
from pipeline.llm.tables import REQUESTS
from pipeline.noise.features import features
from pipeline.rationale import asking, reading
from pipeline.rationale.doubt import add_rationale_noise, reduce_verdicts, summarise_verdicts
from pipeline.schemas import MESSAGE_FIELDS
from pipeline.store import Store
from tests.benchmarks.bench_noise import ONE_VOTE, auc, interval, line, resamples, review
from tests.benchmarks.noise_data import SETS, Comparisons, load_set, prepare
from tests.llm.scripted import Script, scripted_server

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SCORES = ("noise_score", "rationale_noise_score")
_ACCURACY = "JUDGE_ACCURACY"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "raw")
    parser.add_argument("--work", type=Path, default=Path("noise-benchmark"), help="what was ingested and embedded is kept here")
    parser.add_argument("--prepared", type=Path, help="a folder that is ready, instead of --data and --work")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rate", type=float, default=0.2, help="share of labels that are flipped")
    parser.add_argument("--accuracy", type=float, default=0.8, help="of the judge")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    prepared = asked.prepared or prepare(asked.data, asked.work)
    said = {"rate": asked.rate, "accuracy": asked.accuracy, "seeds": asked.seeds}
    pooled = []
    os.environ[_ACCURACY] = str(asked.accuracy)  # the server is a process of its own
    with scripted_server(Script(answer=f"{__spec__.name}:judge")) as server:
        for name in asked.sets:
            data = load_set(prepared, name)
            areas, told = found(data, asked.rate, range(asked.seeds), server.url)
            pooled.append(areas)
            report(name, [areas], pairs=len(data.first_wins), **told, **said)
    report("pooled", pooled, sets=len(pooled), **said)


def report(name: str, areas: list[dict[str, Doubles]], **more: object) -> None:
    """One line: mean areas over some sets, and what the verdicts add."""
    mean = {score: np.mean([area[score] for area in areas], axis=0) for score in _SCORES}
    difference = mean["rationale_noise_score"] - mean["noise_score"]
    told = {f"{score}_auc": float(values[0]) for score, values in mean.items()}
    line(
        benchmark="rationale_noise", set=name, **told, difference=float(difference[0]), interval=interval(difference), **more,
    )  # fmt: skip


def found(data: Comparisons, rate: float, seeds: range, url: str) -> tuple[dict[str, Doubles], dict[str, object]]:
    """AUC of each score over every resample, and means over seeds of the log losses and of the estimated accuracy."""
    table, drawn = features(data.prompt, data.first, data.second, data.extra), resamples(data)
    areas = {score: np.zeros(len(drawn)) for score in _SCORES}
    told = dict.fromkeys(("noise_loss", "rationale_loss", "estimated_accuracy"), 0.0)
    for seed in seeds:
        flipped = np.random.default_rng([seed, 1]).random(len(table)) < rate
        noise = review(data, table, np.arange(len(table)), data.first_wins ^ flipped).get_column("noise_score")
        asked = questions(flipped, f"{data.name} {seed}")
        said = written(asked, url)
        pairs = asked.select("pair_id", noise, p_chosen=pl.lit(ONE_VOTE))
        rates = reduce_verdicts([summarise_verdicts(pairs, said)])
        scored = add_rationale_noise(pairs, said, rates)
        for score in _SCORES:
            areas[score] += auc(scored.get_column(score).to_numpy(), flipped, drawn) / len(seeds)
        told["noise_loss"] += loss(scored, "noise_score", flipped) / len(seeds)
        told["rationale_loss"] += loss(scored, "rationale_noise_score", flipped) / len(seeds)
        told["estimated_accuracy"] += float(rates.get_column("if_right").item()) / len(seeds)
    return areas, {**told}


def written(pairs: pl.DataFrame, url: str) -> pl.DataFrame:
    """The rationales that a server writes without being told the label: schema RATIONALE."""
    config = RationalesConfig(endpoint="scripted", kinds=["detailed"], labels="hidden")
    endpoint = EndpointConfig(name="scripted", base_url=url, model="scripted", concurrency=64)
    form, asked = asking.form("detailed", config), asking.ask(pairs, "detailed", config, endpoint).kept
    requests = asked.select(REQUESTS.names())
    with tempfile.TemporaryDirectory() as store:
        model = LanguageModel(endpoint, Store(store), "benchmark", Budget(BudgetConfig()))
        failures = model.ask(form, requests, lambda _: None).failures
        answers = model.answers(form, requests)
        model.close()
    assert failures.is_empty(), failures
    return reading.read(asked, answers, "scripted", config)


def questions(flipped: Flags, name: str) -> pl.DataFrame:
    """Pairs as they are asked about, in the order of `flipped`: the better answer says so, for the scripted judge alone to see."""
    ids = content_hash(pl.Series([f"{name} {i}" for i in range(len(flipped))], dtype=pl.String), "benchmark")
    sound, flawed = (pl.format(f"A {word} answer to item {{}}.", "pair_id") for word in ("sound", "flawed"))
    wrong = pl.Series(flipped)
    texts = {
        "prompt": ("user", pl.format("What about item {}?", "pair_id")),
        "chosen": ("assistant", pl.when(wrong).then(flawed).otherwise(sound)),
        "rejected": ("assistant", pl.when(wrong).then(sound).otherwise(flawed)),
    }
    missing = [pl.lit(None, pl.String).alias(field) for field in MESSAGE_FIELDS if field not in ("role", "content")]
    messages = {
        side: pl.concat_list(pl.struct(pl.lit(role).alias("role"), text.alias("content"), *missing)) for side, (role, text) in texts.items()
    }
    pairs = pl.DataFrame({"pair_id": ids, "prompt_id": ids}).with_columns(
        criterion=pl.lit("overall"), context=pl.lit(None, pl.String), tools=pl.lit(None, pl.String), **messages
    )
    # Ids of texts: which answer is shown first must not follow from which is better.
    hashes = {f"{side}_id": content_hash(pairs.select(texts[side][1]).to_series(), "response") for side in ("chosen", "rejected")}
    return pairs.with_columns(**hashes)


def judge(body: dict[str, Any]) -> str:
    """What the server answers."""
    asked = body["messages"][-1]["content"]
    item = re.search(r"item ([0-9a-f]{32})", asked)
    assert item is not None
    sound_first = asked.index("A sound answer") < asked.index("A flawed answer")
    side, other = ("A", "B") if sound_first == (_drawn(item[1]) < float(os.environ[_ACCURACY])) else ("B", "A")
    told = f"Response {side} answers item {item[1]} step by step. Response {other} leaves out what the question turns on."
    return json.dumps({"rationale": told, "verdict": side})


def _drawn(text: str) -> float:
    """A number of the text, uniform in 0 to 1."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()) / 2**48


def loss(scored: pl.DataFrame, score: str, flipped: Flags) -> float:
    """Mean log loss of a probability that the label is wrong."""
    chance = np.clip(scored.get_column(score).to_numpy(), 1e-6, 1 - 1e-6)
    return float(-np.log(np.where(flipped, chance, 1 - chance)).mean())


if __name__ == "__main__":
    main()
