"""Does the log-probability of chosen answers fall more under DPO where CHES is high?

A small causal model is trained on real dialogues (`small_lm`), then tuned with TRL's DPO on real preference pairs whose prompts it has not
seen. Displacement of a pair = log p(chosen) before - after, in nats, summed over the answer or per token; above 0: the chosen
answer lost. Parts, one JSON line a fact:

policy    what was trained, and its loss on the pairs' answers.
scores    rank correlations of ches_ln with the other scores; the encoder's proxy of it, beside other scores a proxy has to beat.
rounding  ches_ln from bf16 and fp16 weights against fp32: rank correlation, share of the lowest 5 % that stays.
one_pair  the theory's own statement: displacement of a pair by an infinitesimal step on that pair alone, from its two gradients:
          <g+, g-> - |g+|^2. `sgd`: all parameters; `head`: the unembedding alone (the theory's unconstrained features); `sign`: the
          first step of RMSProp and Adam; `normalised`: gradients of mean log-probabilities, each divided by its answer's tokens.
random    the pairs in five random parts, a run each, so every pair has an outcome: rank correlations within runs, plain and with
          `controls` held fixed (residuals of ranks).
fifths    runs on the lowest, middle and highest fifth by each score; `matched`: ranked among pairs of like lengths.

Intervals are 95 % of a bootstrap over prompts; they hold for this model and these runs, whose own chance the seeds show.

    python -m tests.benchmarks.bench_displacement --data ../shared/data/raw --seeds 0 1 2
"""

import argparse
import json
import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, Literal

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from rapidfuzz.distance import Levenshtein
from scipy.stats import rankdata
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.ches.encoder import add_ches_encoder
from pipeline.ches.loading import load_causal_model, load_chat_tokenizer
from pipeline.ches.rendering import Renderer
from pipeline.ches.score import ches
from pipeline.ches.work import Wanted
from pipeline.config import EmbedConfig
from pipeline.embed import load_encoder
from pipeline.similarity import cosine_rows
from tests.benchmarks import small_lm
from tests.benchmarks.small_lm import Pair

LONGEST_PAIR = 256  # tokens of prompt and answer; longer pairs are left out
RESAMPLES = 1000
LOWEST = 0.05  # of the pairs: what the safety preset keeps
BETA = 0.1
PARTS = ("scores", "rounding", "one_pair", "random", "fifths")
PACKAGES = ("torch", "transformers", "trl", "tokenizers")

# What a score of a pair is compared with, and what is held fixed beside it.
CONTROLS = ("chosen_tokens", "rejected_tokens", "chosen_logp_mean", "rejected_logp_mean")
FIFTHS_BY = ("ches_ln", "ches_encoder_ln", "edit_similarity")

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """One (prompt, answer) as tokens; `start`: the first token of the answer, whose end-of-turn token counts."""

    ids: list[int]
    start: int

    @property
    def tokens(self) -> int:
        return len(self.ids) - self.start


@dataclass(frozen=True)
class Data:
    """N pairs as tokens, and the prompt each belongs to."""

    pairs: list[Pair]
    chosen: list[Answer]
    rejected: list[Answer]
    cluster: Rows  # (N,) number of the prompt's first turn


@dataclass(frozen=True)
class States:
    """Of N answers: what CHES is made of, float64."""

    sums: Doubles  # (N, d)
    last: Doubles  # (N, d)
    tokens: Doubles  # (N,)
    logps: Doubles  # (N,) nats


def main() -> None:
    """Train the model, then run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "raw")
    parser.add_argument("--policy", type=Path, help="a folder of an earlier run's policy, or of any causal model with a chat template")
    parser.add_argument("--save", type=Path, help="where to keep the trained policy")
    parser.add_argument("--tokens", type=int, default=1_600_000, help="that the policy is trained on")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--policy-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the DPO runs: order of pairs, and the random parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--by", nargs="+", choices=FIFTHS_BY, default=list(FIFTHS_BY), help="scores whose fifths are trained on")
    parser.add_argument("--kinds", nargs="+", choices=["plain", "matched"], default=["plain", "matched"], help="of fifths")
    parser.add_argument("--pairs", type=int, help="so many at most, for a quick look")
    parser.add_argument("--sampled", type=int, default=400, help="pairs of `one_pair`")
    parser.add_argument("--rate", type=float, default=1e-5, help="learning rate of DPO (RMSProp)")
    parser.add_argument("--batch", type=int, default=8, help="pairs a DPO step")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1)
    parser.add_argument("--cuda", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore")
    for name in ("transformers", "trl", "datasets", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        folder = policy_folder(asked, Path(scratch))
        run(asked, folder, Path(scratch))


def line(part: str, **values: object) -> None:
    """One line of the answer."""

    def short(value: object) -> object:
        if isinstance(value, dict):
            return {key: short(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [short(one) for one in value]
        return float(f"{value:.4g}") if isinstance(value, float) else value

    print(json.dumps({"benchmark": "displacement", "part": part, **{name: short(value) for name, value in values.items()}}), flush=True)


def policy_folder(asked: argparse.Namespace, scratch: Path) -> Path:
    """Where the policy lies; it is trained first where none is named."""
    if asked.policy is not None:
        return Path(asked.policy)
    began = time.perf_counter()
    dialogues = small_lm.read_corpus(asked.data).dialogues
    tokenizer = small_lm.train_tokenizer(dialogues, asked.vocabulary)
    texts = [small_lm.token_ids(tokenizer, one)[: small_lm.LONGEST] for one in dialogues]
    model = small_lm.new_model(asked.vocabulary, asked.width, asked.layers, asked.policy_seed).to("cuda" if asked.cuda else "cpu")

    def told(step: int, seen: int, loss: float) -> None:
        line("training", step=step, tokens=seen, loss=loss, seconds=time.perf_counter() - began)

    small_lm.train_model(model, texts, tokens=asked.tokens, seed=asked.policy_seed, told=told)
    folder = asked.save or scratch / "policy"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def load(folder: Path, cuda: bool) -> LlamaForCausalLM:
    """The policy, fp32."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True)
    return model.to("cuda" if cuda else "cpu").eval()  # type: ignore[no-any-return]


def run(asked: argparse.Namespace, folder: Path, scratch: Path) -> None:
    """All parts."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = load(folder, asked.cuda)
    data = tokenise(tokenizer, small_lm.read_corpus(asked.data).pairs, asked.pairs)
    chosen, rejected = scored(folder, asked, data, "float32")
    scores = all_scores(data, chosen, rejected)
    sources = [pair.source for pair in data.pairs]
    line(
        "policy", machine=machine(asked), parameters=model.num_parameters(), width=model.config.hidden_size,
        layers=model.config.num_hidden_layers, trained_on=asked.tokens if asked.policy is None else asked.policy.name,
        pairs=len(data.pairs),
        sources={name: sources.count(name) for name in sorted(set(sources))}, prompts=int(data.cluster.max()) + 1,
        loss=float(-chosen.logps.sum() / chosen.tokens.sum()), rejected_loss=float(-rejected.logps.sum() / rejected.tokens.sum()),
        ranks_right=float((scores["difficulty"] < 0).mean()),
        median_tokens=[float(np.median(chosen.tokens)), float(np.median(rejected.tokens))],
        cross_inner_positive=float(((chosen.sums * rejected.sums).sum(axis=1) > 0).mean()),
        package_differs=package_differs(model, data, chosen, rejected),
    )  # fmt: skip
    if "scores" in asked.parts:
        compare_scores(data, scores)
    if "rounding" in asked.parts:
        rounding(folder, asked, data, scores["ches_ln"])
    if "one_pair" in asked.parts:
        one_pair(model, data, scores, asked.sampled)
    trainer = Trainer(folder, tokenizer, scratch, data, {"chosen": chosen, "rejected": rejected}, asked)
    if "random" in asked.parts:
        random_parts(trainer, scores, asked.seeds)
    if "fifths" in asked.parts:
        fifths(trainer, scores, asked.seeds)


def machine(asked: argparse.Namespace) -> dict[str, object]:
    """Where this ran, and with what."""
    name = torch.cuda.get_device_name() if asked.cuda else torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    return {"name": name, "threads": asked.threads, **{package: metadata.version(package) for package in PACKAGES}}


def tokenise(tokenizer: PreTrainedTokenizerFast, pairs: list[Pair], most: int | None) -> Data:
    """Pairs that fit; an answer's tokens are what follows the rendered prompt."""
    kept: list[tuple[Pair, Answer, Answer]] = []
    for pair in pairs:
        start = len(small_lm.token_ids(tokenizer, pair.prompt, generation=True))
        sides = [
            Answer(small_lm.token_ids(tokenizer, [*pair.prompt, {"role": "assistant", "content": text}]), start)
            for text in (pair.chosen, pair.rejected)
        ]
        if max(len(side.ids) for side in sides) <= LONGEST_PAIR:
            kept.append((pair, sides[0], sides[1]))
    kept = kept[:most]
    _, cluster = np.unique([pair.first_turn for pair, _, _ in kept], return_inverse=True)
    return Data([one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept], cluster.astype(np.int64))


# ---------------------------------------------------------------------------------------------------------------- scores


def scored(folder: Path, asked: argparse.Namespace, data: Data, dtype: Literal["float32", "bfloat16", "float16"]) -> tuple[States, States]:
    """Both sides' states as the package gives them: its renderer, its batches, its kept prompts."""
    model = load_causal_model(
        str(folder), revision=None, dtype=dtype, batch_tokens=None, threads=asked.threads, device="cuda" if asked.cuda else "cpu"
    )
    renderer = Renderer(load_chat_tokenizer(str(folder), None), max_length=LONGEST_PAIR)
    n = len(data.pairs)
    prompts = [pair.prompt for pair in data.pairs]
    said = [[{"role": "assistant", "content": text}] for side in ("chosen", "rejected") for text in (getattr(p, side) for p in data.pairs)]
    rendered = renderer.responses([*prompts, *prompts], [None] * (2 * n), said, [*range(n), *range(n)])
    # What is scored must be what is trained.
    assert rendered.rows.tolist() == list(range(2 * n))
    ours = [*data.chosen, *data.rejected]
    assert all(rendered.sequences.whole(row).tolist() == ours[row].ids for row in range(2 * n))
    assert rendered.sequences.start.tolist() == [one.start for one in ours]
    found = model.score(rendered.sequences, Wanted(logps=True, last=True))
    assert found.last is not None
    assert found.logps is not None
    whole = States(*(np.asarray(one, np.float64) for one in (found.sums, found.last, found.tokens, found.logps)))
    first, second = (States(whole.sums[at], whole.last[at], whole.tokens[at], whole.logps[at]) for at in (np.s_[:n], np.s_[n:]))
    return first, second


@torch.inference_mode()
def states(model: LlamaForCausalLM, answers: Sequence[Answer]) -> States:
    """One text a pass, straight from the definition: independent of the package's batches."""
    sums, last, logps = [], [], []
    for answer in answers:
        ids = torch.tensor([answer.ids], device=model.device)
        hidden = model.model(input_ids=ids).last_hidden_state[0]
        predicting = hidden[answer.start - 1 : -1]
        logits = model.lm_head(predicting).double()
        taken = logits.log_softmax(-1).gather(1, ids[0, answer.start :, None])
        sums.append(predicting.double().sum(0).cpu().numpy())
        last.append(hidden[-1].double().cpu().numpy())
        logps.append(float(taken.sum()))
    return States(np.array(sums), np.array(last), np.array([one.tokens for one in answers], np.float64), np.array(logps))


@torch.inference_mode()
def answer_logps(model: LlamaForCausalLM, answers: Sequence[Answer]) -> Doubles:
    """Sums of token log-probabilities; padding on the right is nothing to a causal model."""
    order = sorted(range(len(answers)), key=lambda i: len(answers[i].ids))
    found = np.empty(len(answers))
    for at in range(0, len(order), 16):
        rows = order[at : at + 16]
        width = len(answers[rows[-1]].ids)
        ids = torch.tensor([answers[i].ids + [0] * (width - len(answers[i].ids)) for i in rows], device=model.device)
        hidden = model.model(input_ids=ids).last_hidden_state
        for place, i in enumerate(rows):
            end = len(answers[i].ids)
            logits = model.lm_head(hidden[place, answers[i].start - 1 : end - 1]).double()
            found[i] = float(logits.log_softmax(-1).gather(1, ids[place, answers[i].start : end, None]).sum())
    return found


def defined(chosen: States, rejected: States) -> tuple[Doubles, Doubles]:
    """CHES and its length-normalised form by the definition, nothing of the package in it."""
    cross, own = (chosen.sums * rejected.sums).sum(axis=1), (chosen.sums**2).sum(axis=1)
    return cross - own, cross / (chosen.tokens * rejected.tokens) - own / chosen.tokens**2


def package_differs(model: LlamaForCausalLM, data: Data, chosen: States, rejected: States, first: int = 200) -> dict[str, float]:
    """The package against one text a pass: the largest differences, of CHES in shares of |s+|^2."""
    few = [States(one.sums[:first], one.last[:first], one.tokens[:first], one.logps[:first]) for one in (chosen, rejected)]
    own = [states(model, side[:first]) for side in (data.chosen, data.rejected)]
    size = (own[0].sums ** 2).sum(axis=1)
    by = [defined(*own), ches(few[0].sums, few[1].sums, few[0].tokens.astype(np.int64), few[1].tokens.astype(np.int64))]
    scale = [size, size / own[0].tokens ** 2]
    return {
        "ches": max(float((np.abs(by[0][k] - by[1][k]) / scale[k]).max()) for k in (0, 1)),
        "last": max(float(np.abs(few[k].last - own[k].last).max()) for k in (0, 1)),
        "logp": max(float(np.abs(few[k].logps - own[k].logps).max()) for k in (0, 1)),
    }


def all_scores(data: Data, chosen: States, rejected: States) -> dict[str, Doubles]:
    """What may foretell displacement, N numbers each."""
    tokens = [one.tokens.astype(np.int64) for one in (chosen, rejected)]
    plain, normalised = ches(chosen.sums, rejected.sums, tokens[0], tokens[1])
    encoder, encoder_ln, cosine = encoder_scores(data)
    edit = [
        1 - Levenshtein.normalized_distance(a.ids[a.start :], b.ids[b.start :]) for a, b in zip(data.chosen, data.rejected, strict=True)
    ]
    return {
        "ches": plain,
        "ches_ln": normalised,
        "last_hidden_inner": (chosen.last * rejected.last).sum(axis=1),
        "mean_cosine": (chosen.sums * rejected.sums).sum(axis=1)
        / np.linalg.norm(chosen.sums, axis=1) / np.linalg.norm(rejected.sums, axis=1),
        "own_norm_ln": -(chosen.sums**2).sum(axis=1) / chosen.tokens**2,  # the half of ches_ln that knows nothing of the rejected answer
        "ches_encoder": encoder,
        "ches_encoder_ln": encoder_ln,
        "cosine": cosine,
        "edit_similarity": np.array(edit),
        "chosen_tokens": chosen.tokens,
        "rejected_tokens": rejected.tokens,
        "token_gap": chosen.tokens - rejected.tokens,
        "chosen_logp_mean": chosen.logps / chosen.tokens,
        "rejected_logp_mean": rejected.logps / rejected.tokens,
        "difficulty": rejected.logps - chosen.logps,
    }  # fmt: skip


def encoder_scores(data: Data) -> tuple[Doubles, Doubles, Doubles]:
    """The proxy from the sentence encoder's states, raw and length-normalised, and the answers' cosine, by the product's own steps."""
    texts = sorted({text for pair in data.pairs for text in (pair.chosen, pair.rejected)})
    encoder = load_encoder(EmbedConfig())
    encoded = encoder.encode(texts)
    row = {text: number for number, text in enumerate(texts)}
    ids = [str(number) for number in range(len(texts))]
    index = pl.DataFrame({"text_id": ids, "index": np.arange(len(texts)), "tokens": encoded.tokens, "norm": encoded.norms})
    sides = {f"{side}_text": [str(row[getattr(pair, side)]) for pair in data.pairs] for side in ("chosen", "rejected")}
    found = add_ches_encoder(pl.DataFrame(sides), index, encoded.vectors)
    at = [np.array([row[getattr(pair, side)] for pair in data.pairs]) for side in ("chosen", "rejected")]
    cosine = cosine_rows(encoded.vectors[at[0]], encoded.vectors[at[1]]).astype(np.float64)
    return found.get_column("ches_encoder").to_numpy(), found.get_column("ches_encoder_ln").to_numpy(), cosine


# ------------------------------------------------------------------------------------------------------------ statistics


def draws(cluster: Rows, resamples: int = RESAMPLES) -> list[Rows]:
    """Rows of each resample of clusters; the first is all rows, once."""
    order = np.argsort(cluster, kind="stable")
    counts = np.bincount(cluster)
    starts = np.cumsum(counts) - counts
    present = np.flatnonzero(counts)
    random = np.random.default_rng(0)
    found = [np.arange(len(cluster))]
    for _ in range(resamples):
        drawn = random.choice(present, len(present))
        sizes = counts[drawn]
        ends = np.cumsum(sizes)
        found.append(order[np.arange(ends[-1]) + np.repeat(starts[drawn] - ends + sizes, sizes)])
    return found


def correlations(
    scores: dict[str, Doubles], outcome: Doubles, cluster: Rows, run: Rows | None = None, controls: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Spearman's correlation of each score with the outcome, with its interval; ranks are taken within runs.

    With controls: the partial one, of what is left of ranks after a linear fit on the controls' ranks.
    """
    names = [name for name in scores if name not in controls]
    table = np.column_stack([outcome, *(scores[name] for name in controls), *(scores[name] for name in names)])
    run = np.zeros(len(outcome), np.int64) if run is None else run
    found = np.array([_correlation(table[rows], run[rows], len(controls)) for rows in draws(cluster)])
    low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
    return {name: [float(found[0, i]), float(low[i]), float(high[i])] for i, name in enumerate(names)}


def _correlation(table: Doubles, run: Rows, controls: int) -> Doubles:
    ranks = np.empty_like(table)
    for one in np.unique(run):
        rows = run == one
        ranks[rows] = rankdata(table[rows], axis=0) / rows.sum()
        ranks[rows] -= ranks[rows].mean(axis=0)
    if controls:
        held, rest = ranks[:, 1 : 1 + controls], np.delete(ranks, np.s_[1 : 1 + controls], axis=1)
        ranks = rest - held @ np.linalg.lstsq(held, rest, rcond=None)[0]
    ranks /= np.linalg.norm(ranks, axis=0)
    found: Doubles = ranks[:, 0] @ ranks[:, 1:]
    return found


def with_interval(value: Callable[[Rows], float], resampled: list[Rows]) -> list[float]:
    """A statistic of rows with its interval."""
    found = np.array([value(rows) for rows in resampled])
    return [float(found[0]), *(float(one) for one in np.nanquantile(found[1:], [0.025, 0.975]))]


# ----------------------------------------------------------------------------------------------------------------- parts


def compare_scores(data: Data, scores: dict[str, Doubles]) -> None:
    """How other scores rank pairs beside ches_ln; `held`: lengths and log-probabilities held fixed."""
    others = {name: values for name, values in scores.items() if name not in ("ches", "ches_ln")}
    line("scores", of="ches_ln", spearman=correlations(others, scores["ches_ln"], data.cluster))
    line("scores", of="ches_ln", held=CONTROLS, spearman=correlations(others, scores["ches_ln"], data.cluster, controls=CONTROLS))
    line("scores", of="ches", spearman=correlations({"ches_ln": scores["ches_ln"], **others}, scores["ches"], data.cluster))


def rounding(folder: Path, asked: argparse.Namespace, data: Data, exact: Doubles) -> None:
    """The same weights in half the bits."""
    lowest = set(np.argsort(exact, kind="stable")[: int(LOWEST * len(exact))].tolist())
    dtypes: tuple[Literal["bfloat16", "float16"], ...] = ("bfloat16", "float16")
    for dtype in dtypes:
        chosen, rejected = scored(folder, asked, data, dtype)
        _, rounded = ches(chosen.sums, rejected.sums, chosen.tokens.astype(np.int64), rejected.tokens.astype(np.int64))
        still = lowest & set(np.argsort(rounded, kind="stable")[: len(lowest)].tolist())
        spearman = [1 - one for one in correlations({"rounded": rounded}, exact, data.cluster)["rounded"]]
        line("rounding", dtype=dtype, one_minus_spearman=spearman, lowest=len(lowest), stay=len(still) / len(lowest))


def one_pair(model: LlamaForCausalLM, data: Data, scores: dict[str, Doubles], sampled: int) -> None:
    """Displacement by one infinitesimal step on the pair alone, up to the rate: <g+, g-> - |g+|^2 of log-probabilities' gradients."""
    rows = np.sort(np.random.default_rng(0).permutation(len(data.pairs))[:sampled])
    found: dict[str, list[float]] = {
        name: [] for name in ("sgd", "sgd_per_token", "head", "sign_per_token", "normalised", "head_normalised")
    }
    aligned = []
    for row in rows.tolist():
        good, bad = (gradient(model, side[row]) for side in (data.chosen, data.rejected))
        n, m = data.chosen[row].tokens, data.rejected[row].tokens
        cross = [float((good[part] * bad[part]).sum()) for part in (0, 1)]
        own = [float((good[part] ** 2).sum()) for part in (0, 1)]
        step = (good[0] - bad[0]).sign(), (good[1] - bad[1]).sign()
        found["sgd"].append(sum(cross) - sum(own))
        found["sgd_per_token"].append((sum(cross) - sum(own)) / n)
        found["head"].append(cross[0] - own[0])
        found["sign_per_token"].append(-sum(float((good[part] * step[part]).sum()) for part in (0, 1)) / n)
        found["normalised"].append(sum(cross) / (n * m) - sum(own) / n**2)
        found["head_normalised"].append(cross[0] / (n * m) - own[0] / n**2)
        aligned.append(sum(cross) / sum(own))
    few, cluster = {name: values[rows] for name, values in scores.items()}, data.cluster[rows]
    for name, values in found.items():
        outcome = np.array(values)
        line(
            "one_pair", displacement=name, pairs=len(rows), fell=float((outcome > 0).mean()), spearman=correlations(few, outcome, cluster),
            held=correlations(few, outcome, cluster, controls=CONTROLS),
        )  # fmt: skip
    # Above 1 the rejected answer's fall costs the chosen one more than its own rise gives.
    line("one_pair", cross_over_own_quartiles=np.quantile(aligned, [0.25, 0.5, 0.75]).tolist())


def gradient(model: LlamaForCausalLM, answer: Answer) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the answer's summed log-probability: by the unembedding, and by all other parameters, each end to end."""
    model.zero_grad(set_to_none=True)
    ids = torch.tensor([answer.ids], device=model.device)
    hidden = model.model(input_ids=ids).last_hidden_state[0, answer.start - 1 : -1]
    model.lm_head(hidden).log_softmax(-1).gather(1, ids[0, answer.start :, None]).sum().backward()
    head = model.lm_head.weight
    rest = [one.grad.reshape(-1) for one in model.parameters() if one is not head and one.grad is not None]
    return head.grad.reshape(-1).clone(), torch.cat(rest)  # type: ignore[union-attr]


@dataclass(frozen=True)
class Trainer:
    """DPO runs that all begin at the policy."""

    folder: Path
    tokenizer: Any
    scratch: Path
    data: Data
    before: dict[str, States]
    asked: argparse.Namespace

    def fall(self, rows: Rows, seed: int) -> tuple[Doubles, Doubles]:
        """Log-probability lost by each chosen and each rejected answer of a run on these pairs, (len(rows),) each."""
        from datasets import Dataset
        from transformers.trainer_callback import PrinterCallback
        from trl import DPOConfig, DPOTrainer

        pairs = [self.data.pairs[row] for row in rows.tolist()]
        said = {side: [[{"role": "assistant", "content": getattr(pair, side)}] for pair in pairs] for side in ("chosen", "rejected")}
        config = DPOConfig(
            output_dir=str(self.scratch / "dpo"), beta=BETA, optim="rmsprop", learning_rate=self.asked.rate, lr_scheduler_type="constant",
            per_device_train_batch_size=self.asked.batch, num_train_epochs=1, seed=seed, max_length=LONGEST_PAIR, save_strategy="no",
            logging_strategy="no", report_to=[], bf16=False, activation_checkpointing=False, disable_tqdm=True, use_cpu=not self.asked.cuda,
            precompute_ref_log_probs=True, dataloader_pin_memory=False,
        )  # fmt: skip
        model = load(self.folder, self.asked.cuda)
        lengths = np.array([max(len(side[row].ids) for side in (self.data.chosen, self.data.rejected)) for row in rows.tolist()])
        order = like_lengths(lengths, self.asked.batch, seed)

        class Ordered(DPOTrainer):
            def _get_train_sampler(self, *_: object) -> list[int]:
                return order

        trainer = Ordered(
            model=model,
            args=config,
            processing_class=self.tokenizer,
            train_dataset=Dataset.from_dict({"prompt": [pair.prompt for pair in pairs], **said}),
        )
        trainer.remove_callback(PrinterCallback)  # standard output is ours
        trained = trainer.train_dataset
        for name, side in (("chosen_ids", self.data.chosen), ("rejected_ids", self.data.rejected)):
            # What is measured must be what was trained.
            assert [list(one) for one in trained[name]] == [side[row].ids[side[row].start :] for row in rows.tolist()]
        trainer.train()
        model.eval()
        sides = (("chosen", self.data.chosen), ("rejected", self.data.rejected))
        chosen, rejected = (
            self.before[name].logps[rows] - answer_logps(model, [side[row] for row in rows.tolist()]) for name, side in sides
        )
        return chosen, rejected


def like_lengths(lengths: Rows, batch: int, seed: int) -> list[int]:
    """Batches of pairs of like length, in random order: a third of the padding that random batches have."""
    random = np.random.default_rng([seed, 5])
    order = random.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = [order[at : at + batch] for at in range(0, len(order), batch)]
    short = [one for one in batches if len(one) < batch]  # only the last batch of an epoch may be short
    full = [one for one in batches if len(one) == batch]
    rows: list[int] = np.concatenate([*(full[i] for i in random.permutation(len(full))), *short]).tolist()
    return rows


def random_parts(trainer: Trainer, scores: dict[str, Doubles], seeds: list[int]) -> None:
    """Five random parts of all pairs a seed, a run each: correlations within runs, displacement averaged over seeds where asked."""
    data = trainer.data
    tokens = trainer.before["chosen"].tokens
    several: list[Doubles] = []
    for seed in seeds:
        part = np.random.default_rng([seed, 3]).permutation(len(data.pairs)) % 5
        chosen, rejected = np.empty(len(part)), np.empty(len(part))
        for one in range(5):
            rows = np.flatnonzero(part == one)
            chosen[rows], rejected[rows] = trainer.fall(rows, seed)
        means = [float(chosen[part == one].mean()) for one in range(5)]
        line(
            "random", seed=seed, rate=trainer.asked.rate, pairs_a_run=len(part) // 5, mean_displacement_of_runs=means,
            fell=float((chosen > 0).mean()), margin_gain=float((rejected - chosen).mean()), margin_rose=float((rejected > chosen).mean()),
        )  # fmt: skip
        for name, outcome in (("summed", chosen), ("per_token", chosen / tokens)):
            for controls in ((), CONTROLS):
                told = correlations(scores, outcome, data.cluster, part, controls)
                line("random", seed=seed, displacement=name, held=list(controls), spearman=told)
        several.append(chosen)
    if len(several) > 1:
        line("random", seeds=seeds, agreement_of_seeds=correlations({"first": several[0]}, several[1], data.cluster)["first"])


def fifths(trainer: Trainer, scores: dict[str, Doubles], seeds: list[int]) -> None:
    """Runs on the lowest, middle and highest fifth by each score."""
    data, tokens = trainer.data, trainer.before["chosen"].tokens
    resampled = draws(data.cluster)
    for by, kind in product(trainer.asked.by, trainer.asked.kinds):
        fifth = fifth_of(scores[by] if kind == "plain" else among_like_lengths(trainer, scores[by]))
        total, per_token = np.full(len(fifth), np.nan), np.full(len(fifth), np.nan)
        for number, name in ((0, "lowest"), (2, "middle"), (4, "highest")):
            rows = np.flatnonzero(fifth == number)
            falls = [trainer.fall(rows, seed) for seed in seeds]
            chosen, rejected = (np.mean([fall[side] for fall in falls], axis=0) for side in (0, 1))
            total[rows], per_token[rows] = chosen, chosen / tokens[rows]

            line(
                "fifths", by=by, kind=kind, fifth=name, seeds=seeds, pairs=len(rows),
                displacement=with_interval(mean_in(total, fifth, number), resampled),
                per_token=with_interval(mean_in(per_token, fifth, number), resampled),
                fell=with_interval(mean_in((total > 0) * 1.0, fifth, number), resampled),
                of_seeds=[float(fall[0].mean()) for fall in falls], margin_gain=float((rejected - chosen).mean()),
                mean_tokens=[float(trainer.before[side].tokens[rows].mean()) for side in ("chosen", "rejected")],
                hh_rlhf=float(np.mean([data.pairs[row].source == "hh_rlhf" for row in rows.tolist()])),
            )  # fmt: skip
        for name, values in (("summed", total), ("per_token", per_token)):
            line("fifths", by=by, kind=kind, displacement=name, highest_minus_lowest=with_interval(difference(values, fifth), resampled))


def mean_in(values: Doubles, fifth: Rows, number: int) -> Callable[[Rows], float]:
    """The mean of values over drawn rows of one fifth."""
    return lambda rows: float(values[rows][fifth[rows] == number].mean())


def difference(values: Doubles, fifth: Rows) -> Callable[[Rows], float]:
    """Highest fifth's mean less the lowest's."""
    return lambda rows: mean_in(values, fifth, 4)(rows) - mean_in(values, fifth, 0)(rows)


def fifth_of(score: Doubles) -> Rows:
    """0 (lowest) to 4, of like size; ties by row."""
    place = np.empty(len(score), np.int64)
    place[np.argsort(score, kind="stable")] = np.arange(len(score))
    return place * 5 // len(score)


def among_like_lengths(trainer: Trainer, score: Doubles) -> Doubles:
    """Ranks, 0 to 1, within cells of like lengths: twenty groups by the chosen answer's tokens, four in each by the rejected one's."""
    chosen, rejected = trainer.before["chosen"].tokens, trainer.before["rejected"].tokens
    place = np.empty(len(score))
    for group in np.array_split(np.argsort(chosen, kind="stable"), 20):
        for cell in np.array_split(group[np.argsort(rejected[group], kind="stable")], 4):
            place[cell] = (rankdata(score[cell], "ordinal") - 0.5) / max(1, len(cell))
    return place


if __name__ == "__main__":
    main()
