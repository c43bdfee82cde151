"""Real comparisons as arrays, for the noise benchmarks: one set at a time, with labels from its votes and clusters that share nothing.

`prepare` reads the raw files through the product's own ingest, names the texts and embeds them with the bundled model (once: its folder
is a cache); `load_set` gives the arrays of one set. Needs `../shared/data/raw` beside the checkout, or a folder of that layout.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIG = CHECKOUT / "tests" / "real" / "shared.yaml"
SHARED_URI = "../../../shared/data/raw"  # as CONFIG spells the folder of the raw files

# What a set is: its sources, and whose votes label it. Pairs that differ in wording alone are left as they are.
SETS: dict[str, tuple[list[str], str]] = {
    "hh_rlhf": (["hh_rlhf"], "human"),
    "fine_grained_rlhf": (["fine_grained_rlhf"], "human"),
    "ukp_convarg1": (["ukp_convarg1"], "human"),
    "pandalm": (["pandalm"], "human"),
    "alpaca_eval": (["alpaca_eval"], "judge"),
    "llmbar": (["llmbar"], "human"),
    "llama_factory": (["llama_factory"], "human"),
    "medicalgpt_dpo_zh": (["medicalgpt_dpo_zh"], "human"),
    "llmfao": (["llmfao"], "human"),
}

READY = "ready.json"  # written last: a folder with it is whole

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Comparisons:
    """One set: N pairs, sides in the order of their content hashes, which says nothing about who won."""

    name: str
    prompt: Floats  # (N, D) unit vectors; zeros where a text is blank
    first: Floats  # (N, D)
    second: Floats  # (N, D)
    extra: Floats  # (N, 3): log ratios (first / second) of characters, lines and marks of lists and headings, each plus one
    first_wins: npt.NDArray[np.bool_]  # (N,) majority of the votes that are no tie
    cluster: pl.Series  # (N,) String: components of pairs that share a prompt or an answer's text


def prepare(data: Path, work: Path) -> Path:
    """Ingest, pair up and embed all sets of `data` with the product's own steps; the folder below `work` that holds the tables.

    A folder that is ready is taken as it is. Near duplicates are not merged: pairs that share an answer are one cluster here.
    """
    ready = work / "noise-data"
    if (ready / READY).exists():
        return ready
    from flows import curate, ingesting, inputs, joining, steps, vectors
    from pipeline import pairing, storage
    from pipeline.config import load_config
    from pipeline.consensus.votes import NEEDED, votes_of
    from pipeline.store import Store

    work.mkdir(parents=True, exist_ok=True)
    own = work / "prefine.yaml"
    own.write_text(CONFIG.read_text(encoding="utf-8").replace(SHARED_URI, str(data.resolve())), encoding="utf-8")
    config = load_config(own)
    files = inputs.input_files(config, str(CONFIG.parent), None)
    run = steps.Run(config, config.dataset, str(work / "scratch"), str(work / "store"), partitions=curate._partitions(files))
    known = [file for _, group in curate._grouped(files) for file in ingesting.detect_layouts(group, _ignore)]
    done = [ingesting.ingest_files(run, group, _ignore) for _, group in curate._grouped(sorted(known, key=lambda file: file.index))]
    joining.account_joined([row for _, asked in done for row in asked], limited=False)
    steps.reduce_scales(run, [row for read, _ in done for row in read])
    filled = [p for p in range(run.partitions) if steps.pair_up(run, p)["pairs"]]
    for p in filled:
        steps.embed(run, p, _ignore)

    def whole(table: str, columns: list[str] | None = None) -> pl.DataFrame:
        return pl.concat(storage.read_table(run.place(table, p), columns) for p in filled)

    texts = whole("texts", ["text_id", "text"]).unique("text_id").sort("text_id")
    index, embedded = vectors.needed(Store(run.store), steps.encoder(config.embed), texts.get_column("text_id"))
    ready.mkdir(parents=True, exist_ok=True)
    whole("tally", ["pair_id", "prompt_id", "prompt_text", "low_text", "high_text"]).write_parquet(ready / "tally.parquet")
    votes_of(whole("judged", NEEDED), pairing.b_is_low()).write_parquet(ready / "votes.parquet")
    texts.write_parquet(ready / "texts.parquet")
    index.rename({"index": "row"}).write_parquet(ready / "index.parquet")
    np.save(ready / "vectors.npy", embedded)
    (ready / READY).write_text(json.dumps({"pairs": len(embedded)}), encoding="utf-8")
    return ready


def _ignore(_: int) -> None:
    """Progress that nobody watches."""


def load_set(prepared: Path, name: str) -> Comparisons:
    """The pairs of one set whose votes have a majority for one side."""
    sources, kind = SETS[name]
    votes = pl.read_parquet(prepared / "votes.parquet").filter(pl.col("source").is_in(sources), pl.col("kind") == kind)
    lead = votes.group_by("pair_id").agg(lead=pl.col("vote").cast(pl.Int64).sum()).filter(pl.col("lead") != 0)
    texts = ["prompt_text", "low_text", "high_text"]
    pairs = pl.read_parquet(prepared / "tally.parquet", columns=["pair_id", "prompt_id", *texts]).join(lead, on="pair_id").sort("pair_id")
    known = pl.read_parquet(prepared / "texts.parquet", columns=["text_id", "text"]).unique("text_id", keep="any")
    index = pl.read_parquet(prepared / "index.parquet", columns=["text_id", "row"])
    vectors = np.load(prepared / "vectors.npy", mmap_mode="r")
    prompt, first, second = (_vectors(pairs.get_column(column), index, vectors) for column in texts)
    sides = [_facts(pairs.get_column(column), known) for column in texts[1:]]
    return Comparisons(
        name, prompt, first, second,
        extra=sides[0] - sides[1],
        first_wins=pairs.get_column("lead").to_numpy() < 0,  # a vote is -1 for `low`, the first side
        cluster=_components(pairs),
    )  # fmt: skip


def _vectors(ids: pl.Series, index: pl.DataFrame, vectors: npt.NDArray[np.float16]) -> Floats:
    rows = ids.rename("text_id").to_frame().join(index, on="text_id", how="left", maintain_order="left").get_column("row")
    found = np.asarray(vectors[rows.fill_null(0).to_numpy()], dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[rows.is_null().to_numpy()] = 0.0
    return found


def _facts(ids: pl.Series, known: pl.DataFrame) -> Floats:
    text = pl.col("text").fill_null("")
    told = ids.rename("text_id").to_frame().join(known, on="text_id", how="left", maintain_order="left")
    counts = told.select(
        text.str.len_chars(), lines=text.str.count_matches("\n"), marks=text.str.count_matches(r"(?m)^\s*(?:[-*#]|\d+[.)])|\*\*")
    )
    return np.log1p(counts.to_numpy().astype(np.float32))


def _components(pairs: pl.DataFrame) -> pl.Series:
    """Pairs that share a prompt or an answer, over any number of steps, are one cluster: test pairs share neither with training pairs."""
    holds = pl.concat(
        pairs.select(row=pl.int_range(pl.len()), key=pl.lit(f"{kind} ") + pl.col(column))
        for kind, column in (("prompt", "prompt_id"), ("answer", "low_text"), ("answer", "high_text"))
    ).drop_nulls("key")
    keys = holds.get_column("key").rank("dense").cast(pl.Int64).to_numpy() - 1
    rows = holds.get_column("row").to_numpy()
    size = pairs.height + int(keys.max()) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, keys + pairs.height)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][: pairs.height]
    return pl.Series("cluster", [f"{label:06d}" for label in labels.tolist()])
