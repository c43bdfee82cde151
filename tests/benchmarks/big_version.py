"""A large published version for measurements: true schemas, texts of realistic lengths, ids that hold together.

    .venv/bin/python tests/benchmarks/big_version.py ROOT PAIRS

writes a dataset folder with one version of PAIRS published pairs and PAIRS / 20 dropped ones. Every file of sql/checks holds on it.
Texts are words drawn from a Zipf distribution (zstd shrinks them about 3 : 1, as it does prose); no two are alike.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.publish import VersionWriter, finish
from pipeline.queries import PARTS, PUBLISHED_PARTS, run_checks
from pipeline.schemas import ANNOTATOR, JUDGEMENT, LEDGER, MESSAGES_PL, PAIR, STATISTIC

SOURCES = {"arena": 0.50, "helpful": 0.25, "summaries": 0.15, "code": 0.09, "safety": 0.01}  # name -> share of the pairs
MODELS = [f"model-{n}" for n in range(12)]
BATCH = 25_000  # pairs made at once
ANNOTATORS = 997
_DROPPED_SHARE = 1 / 21  # of all pairs: one for 20 published


def make(root: str, pairs: int, seed: int = 0, rows_per_shard: int = 50_000) -> str:
    """Publish a version of about `pairs` pairs (a few in a thousand more or fewer) under `root`; returns its name.

    Args:
        root: a dataset folder that need not exist.
        pairs: published ones.
        seed: another one gives other texts, ids and numbers.
        rows_per_shard: rows of one file.
    """
    # Counted first and written then, as a run does it; the second pass makes the same rows again.
    counts: dict[str, int] = {}
    rows_of = dict.fromkeys(SOURCES, 0)
    for tables in _batches(pairs, seed, texts=False):
        for part, table in tables.items():
            counts[part] = counts.get(part, 0) + table.height
        for source, rows in tables["ledger"].group_by("source").len().iter_rows():
            rows_of[source] += rows
    votes = np.zeros(ANNOTATORS, dtype=np.int64)
    whole = {"statistics": _statistics(), "annotators": ANNOTATOR.empty_table()}
    writer = VersionWriter(root, "v000001", counts | {"statistics": whole["statistics"].num_rows, "annotators": ANNOTATORS}, rows_per_shard)
    for tables in _batches(pairs, seed, texts=True):
        votes += np.bincount(tables["judgements"]["annotator_id"].str.slice(1).cast(pl.Int64).to_numpy(), minlength=ANNOTATORS)
        for part, table in tables.items():
            writer.write(part, table)
    whole["annotators"] = _annotators(votes)
    for part, table in whole.items():
        writer.write(part, table)
    files = writer.close()
    inputs = [
        {
            "source": name, "source_uri": f"raw/{name}.jsonl", "role": "records", "layout": "ab", "bytes": rows * 1500, "sha256": "0" * 64,
            "rows_counted": rows, "rows": rows, "records": rows, "ratings": 0, "quarantined_rows": 0, "unreadable": None,
        }
        for name, rows in rows_of.items()
    ]  # fmt: skip
    kept, dropped = sum(counts.get(part, 0) for part in PUBLISHED_PARTS), counts["dropped"]
    merged = counts["ledger"] - kept - dropped
    stages = [
        {"stage": "ingest", "rows_in": counts["ledger"], "kept": counts["ledger"], "dropped": 0, "reasons": {}},
        {"stage": "pair_up", "rows_in": counts["ledger"], "kept": kept + dropped, "dropped": merged, "reasons": {"same_pair": merged}},
        {"stage": "rules", "rows_in": kept + dropped, "kept": kept, "dropped": dropped, "reasons": {"low_agreement": dropped}},
        {"stage": "split", "rows_in": kept, "kept": kept, "dropped": 0, "reasons": {}},
    ]
    parts: dict[str, Any] = {"dataset": "big", "inputs": inputs, "counts": stages, "config": {"sources": []}, "rules": ["low_agreement"]}
    parts |= {"packages": {}, "models": {}, "causal_models": [], "endpoints": [], "seeds": {}, "timings": {}}
    return finish(root, "v000001", files, parts).version


def _batches(pairs: int, seed: int, texts: bool) -> Iterator[dict[str, pl.DataFrame]]:
    """The tables of the version, a run of prompt ids at a time, in the order they are published."""
    total = round(pairs / (1 - _DROPPED_SHARE))
    number = max(1, total // BATCH)
    row_of = dict.fromkeys(SOURCES, 0)
    for batch in range(number):
        size = total * (batch + 1) // number - total * batch // number
        yield _batch(np.random.default_rng([seed, batch]), size, (batch / number, (batch + 1) / number), row_of, seed, texts)


def _batch(
    rng: np.random.Generator, size: int, span: tuple[float, float], row_of: dict[str, int], seed: int, texts: bool
) -> dict[str, pl.DataFrame]:
    prompts = max(1, size // 2)
    at = np.sort(rng.integers(0, prompts, size))  # the prompt of each pair
    heads = np.sort(rng.uniform(*span, prompts))
    prompt_ids = pl.Series([f"{int(head * 2**64):016x}" for head in heads]) + _hex(rng, prompts, 8)
    prompt_source = rng.choice(len(SOURCES), prompts, p=list(SOURCES.values()))
    share = rng.random(prompts)  # of a prompt: train 93 %, validation 4 %, test 2 %, other 1 %
    split = np.select([share < 0.94, share < 0.98], ["train", "validation"], "test" if "test" in PARTS else "train")
    is_other = rng.random(prompts) < 0.01
    ties = rng.random(size) < _DROPPED_SHARE
    votes = 1 + (rng.random(size) < 0.3)
    against = np.minimum(votes - 1, rng.random(size) < 0.2)
    lengths = {"prompt": rng.integers(40, 400, prompts), "chosen": _answer_lengths(rng, size), "rejected": _answer_lengths(rng, size)}
    words = {name: _texts(rng, length) if texts else pl.Series([""]).gather([0] * len(length)) for name, length in lengths.items()}
    pair_at = pl.Series(at)
    pair = pl.DataFrame(
        {
            "pair_id": _hex(rng, size, 16),
            "prompt_id": prompt_ids.gather(pair_at),
            "prompt_cluster_id": prompt_ids.gather(pair_at),
            "prompt": _said("user", words["prompt"]).gather(pair_at),
            "chosen": _said("assistant", words["chosen"]),
            "rejected": _said("assistant", words["rejected"]),
            "chosen_id": _hex(rng, size, 16),
            "rejected_id": _hex(rng, size, 16),
            "source": pl.Series(list(SOURCES)).gather(pl.Series(prompt_source).gather(pair_at)),
            "split": pl.Series(split).gather(pair_at),
            "is_other": pl.Series(is_other).gather(pair_at),
            "is_dropped": ties,
            "n_votes": votes.astype(np.int64),
            "votes_rejected": against.astype(np.int64),
            "chosen_chars": lengths["chosen"],
            "rejected_chars": lengths["rejected"],
            **{name: pl.Series(MODELS).gather(rng.integers(0, len(MODELS), size)) for name in ("chosen_model", "rejected_model")},
        }
    )
    judged = _judgements(rng, pair, row_of)
    records = judged.group_by("pair_id", maintain_order=True).agg(records=pl.col("judgement_id").sort())
    pair = _pairs(rng, pair.join(records, on="pair_id", how="left", maintain_order="left")).sort("prompt_id", "pair_id")
    published = pl.col("is_dropped").not_()
    parts = {"other": published & pl.col("is_other")}
    parts |= {
        name: published & ~pl.col("is_other") & (pl.col("split") == name) for name in ("train", "validation", "test") if name in PARTS
    }
    tables = {name: pair.filter(which).select(PAIR.names) for name, which in parts.items()}
    why = {"stage": "rules", "reason": "low_agreement", "score": 0.5, "threshold": 0.6, "detail": "p_chosen 0.5 < 0.6"}
    explained = [*(pl.lit(value).alias(name) for name, value in why.items()), pl.lit(None, pl.String).alias("witness_pair_id")]
    tables["dropped"] = pair.filter("is_dropped").with_columns(explained).select(PARTS["dropped"][1].names)
    tables["ledger"] = _ledger(judged, pair, why)
    tables["judgements"] = judged.select(JUDGEMENT.names)
    return tables


def _answer_lengths(rng: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
    """Characters: log-normal, median 650, most of them between 300 and 1,500."""
    return np.clip(rng.lognormal(6.5, 0.5, size), 80, 4000).astype(np.int64)


def _hex(rng: np.random.Generator, size: int, length: int) -> pl.Series:
    """Random ids of 2 * `length` hex digits."""
    digits = pa.py_buffer(rng.bytes(size * length).hex().encode())
    offsets = pa.py_buffer(np.arange(size + 1, dtype=np.int64) * 2 * length)
    return pl.Series(pa.LargeStringArray.from_buffers(size, offsets, digits))


_LETTERS = np.array(list("etaoinshrdlucmfwygpbvk"))
_SHAPES = np.random.default_rng(7)
_VOCABULARY = pa.array(["".join(_SHAPES.choice(_LETTERS, n)) + " " for n in _SHAPES.integers(2, 10, 30_000)], pa.large_string())
_COMMON = np.cumsum(1 / np.arange(1, len(_VOCABULARY) + 1) ** 0.95)


def _texts(rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> pl.Series:
    """Texts of these lengths in characters: one long run of words, cut."""
    needed = int(lengths.sum())
    drawn = np.searchsorted(_COMMON, rng.random(needed // 4 + 16) * _COMMON[-1])
    run = _VOCABULARY.take(pa.array(drawn)).buffers()[2]
    assert run is not None
    assert run.size >= needed
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return pl.Series(pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(offsets), run))


def _said(role: str, text: pl.Series) -> pl.Series:
    nothing = [pl.lit(None, pl.String).alias(name) for name in ("name", "tool_calls", "tool_call_id", "reasoning_content")]
    message = pl.struct(pl.lit(role).alias("role"), pl.col("content"), *nothing)
    return text.alias("content").to_frame().select(said=pl.concat_list(message).cast(MESSAGES_PL)).to_series()


def _judgements(rng: np.random.Generator, pair: pl.DataFrame, row_of: dict[str, int]) -> pl.DataFrame:
    """The votes of the pairs: `votes_rejected` of them for the other side, all others for chosen."""
    voted = pair.select(
        "pair_id", "prompt_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id", "source", "n_votes", "votes_rejected",
        "chosen_model", "rejected_model", vote=pl.int_ranges(0, "n_votes"),
    ).explode("vote")  # fmt: skip
    swapped = pl.Series("swapped", rng.random(voted.height) < 0.5)
    against = pl.col("vote") < pl.col("votes_rejected")
    voted = voted.with_columns(
        swapped,
        judgement_id=_hex(rng, voted.height, 16),
        annotator_id=pl.Series([f"a{n}" for n in range(ANNOTATORS)]).gather(rng.integers(0, ANNOTATORS, voted.height)),
        source_row=pl.int_range(pl.len()).over("source") + pl.col("source").replace_strict(row_of, return_dtype=pl.Int64),
    )
    for source, rows in voted.group_by("source").len().iter_rows():
        row_of[source] += rows
    sides = {"chosen": "rejected", "rejected": "chosen"}

    def side(a_is: str, column: str, name: str) -> pl.Expr:
        return pl.when("swapped").then(pl.col(f"{sides[a_is]}{column}")).otherwise(pl.col(f"{a_is}{column}")).alias(name)

    voted = voted.with_columns(
        side("chosen", "", "response_a"), side("rejected", "", "response_b"),
        side("chosen", "_id", "response_a_id"), side("rejected", "_id", "response_b_id"),
        side("chosen", "_model", "model_a"), side("rejected", "_model", "model_b"),
        outcome=pl.when(pl.col("swapped") != against).then(pl.lit("b")).otherwise(pl.lit("a")),
        source_uri="raw/" + pl.col("source") + ".jsonl", annotator_kind=pl.lit("human"), criterion=pl.lit("overall"),
        normalised=pl.lit([], pl.List(pl.String)), derived_from=pl.lit([], pl.List(pl.String)),
    )  # fmt: skip
    return _filled(voted, JUDGEMENT).sort("prompt_id", "judgement_id")


def _pairs(rng: np.random.Generator, pair: pl.DataFrame) -> pl.DataFrame:
    """PAIR rows: random signals within their ranges, nothing where a run would need a model to say something."""
    n = pair.height
    uniform = [
        "cosine_chosen_rejected", "cosine_prompt_chosen", "cosine_prompt_rejected", "edit_distance", "answers_jaccard", "bmas",
        "noise_score", "ches_encoder", "ches_encoder_ln", "peer_probability", "peer_disagreement", "chosen_trigram_uniqueness",
        "rejected_trigram_uniqueness", "chosen_length_percentile", "rejected_length_percentile",
    ]  # fmt: skip
    right = 0.5 + rng.random(n) / 2
    longest, shortest = pl.max_horizontal("chosen_chars", "rejected_chars"), pl.min_horizontal("chosen_chars", "rejected_chars")
    pair = pair.with_columns(
        *(pl.Series(name, rng.random(n)) for name in uniform),
        p_chosen=pl.when("is_dropped").then(0.5).otherwise(pl.Series(right)),
        p_soft=pl.Series(right),
        p_chosen_length_controlled=pl.Series(np.clip(right - 0.1, 0.5, 1)),
        weight=pl.lit(1.0, pl.Float32),
        margin=pl.Series(rng.random(n), dtype=pl.Float32),
        votes_chosen=pl.col("n_votes") - pl.col("votes_rejected"),
        votes_admitted=pl.col("n_votes"),
        n_annotators=pl.col("n_votes"),
        agreement=1 - pl.col("votes_rejected") / pl.col("n_votes"),
        conflict=pl.col("votes_rejected") > 0,
        chosen_tokens=pl.col("chosen_chars") // 5,
        rejected_tokens=pl.col("rejected_chars") // 5,
        chars_gap=pl.col("chosen_chars") - pl.col("rejected_chars"),
        tokens_gap=pl.col("chosen_chars") // 5 - pl.col("rejected_chars") // 5,
        chars_ratio=shortest / longest,
        tokens_ratio=shortest / longest,
        prompt_tokens=pl.Series(rng.integers(8, 90, n)),
        peer_verdict=pl.lit("keep"),
        prompt_language=pl.lit("en"), chosen_language=pl.lit("en"), rejected_language=pl.lit("en"), language_mismatch=pl.lit(False),
        criterion=pl.lit("overall"),
        sources=pl.concat_list("source"), chosen_models=pl.concat_list("chosen_model"), rejected_models=pl.concat_list("rejected_model"),
        identical_at_lengths=pl.lit([], pl.List(pl.Int64)),
    )  # fmt: skip
    return _filled(pair, PAIR)


def _ledger(judged: pl.DataFrame, pair: pl.DataFrame, why: dict[str, Any]) -> pl.DataFrame:
    fates = pair.select("pair_id", "is_dropped", part=pl.when("is_other").then(pl.lit("other")).otherwise("split"))
    rows = judged.select("pair_id", "source", "source_uri", "source_row", record_id="judgement_id").join(fates, on="pair_id", how="left")
    dropped = pl.col("is_dropped")
    rows = rows.with_columns(
        fate=pl.when(dropped).then(pl.lit("dropped")).otherwise(pl.lit("published")),
        stage=pl.when(dropped).then(pl.lit("rules")).otherwise(pl.lit("publish")),
        reason=pl.when(dropped).then(pl.lit(why["reason"])).otherwise("part"),
        **{name: pl.when(dropped).then(pl.lit(why[name])) for name in ("score", "threshold", "detail")},
    )
    return _filled(rows, LEDGER).select(LEDGER.names).sort("record_id")


def _filled(rows: pl.DataFrame, schema: pa.Schema) -> pl.DataFrame:
    """What is missing of the schema: null where it may be, nothing (0, False) elsewhere."""
    empty = pl.DataFrame(pl.from_arrow(schema.empty_table()))
    nothing = {pl.String: "", pl.Boolean: False, pl.Int64: 0, pl.Float64: 0.0, pl.Float32: 0.0}
    missing = [name for name in schema.names if name not in rows.columns]
    return rows.with_columns(
        pl.lit(None if schema.field(name).nullable else nothing[type(empty[name].dtype)], empty[name].dtype).alias(name) for name in missing
    )


def _annotators(votes: npt.NDArray[np.int64]) -> pa.Table:
    voters = pl.DataFrame({"annotator_id": [f"a{n}" for n in range(len(votes))], "votes": votes, "pairs": votes, "admitted": True})
    voters = voters.with_columns(annotator_kind=pl.lit("human"), accuracy=pl.lit(0.9), accuracy_low=pl.lit(0.8), accuracy_high=pl.lit(0.95))
    return _filled(voters, ANNOTATOR).select(ANNOTATOR.names).to_arrow()


def _statistics() -> pa.Table:
    rows = [
        {
            "statistic": "epsilon",
            "subject_kind": "source",
            "subject": name,
            "value": 0.1,
            "low": 0.05,
            "high": 0.2,
            "n": 1000,
            "unit": "share",
        }
        for name in SOURCES
    ]
    return pa.Table.from_pylist(rows, schema=STATISTIC)


def main() -> None:
    """Make the version named on the command line, run the checks on it, and say what was made."""
    root, pairs = sys.argv[1], int(sys.argv[2])
    started = time.perf_counter()
    version = make(root, pairs)
    made = time.perf_counter() - started
    folder = Path(root) / version
    manifest = json.loads((folder / "manifest.json").read_text())
    started = time.perf_counter()
    broken = [str(one) for one in run_checks(str(folder), manifest["inputs"], manifest["counts"])]
    facts = {
        "benchmark": "big_version",
        "pairs": pairs,
        "bytes": sum(f["bytes"] for f in manifest["files"]),
        "files": len(manifest["files"]),
    }
    facts |= {"make_s": round(made, 1), "checks_s": round(time.perf_counter() - started, 1), "broken": broken}
    facts["content"] = hashlib.sha256(manifest["content_sha256"].encode()).hexdigest()[:12]
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
