"""Small data to ask language models about, endpoints that do what a script says, and what a run of it published."""

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import yaml
from prefect.settings import PREFECT_API_URL

from flows.curate import Outcome
from pipeline import queries
from tests.flows.test_promises import Row, as_lines
from tests.flows.test_voting import Case, Published
from tests.llm.scripted import Script, Server

ROOT = Path(__file__).parents[2]
EVERYTHING = "tests.flows.scripted_answers:everything"
WORDS = ("river", "lamp", "stone", "window", "paper", "engine", "forest", "letter", "harbour", "needle", "garden", "candle")
# The command line with the stand-in encoder: for what needs a process of its own.
CHILD = """
import sys
from flows import cli, steps
from tests.fakes import WordEncoder

encoder = WordEncoder()
steps.encoder = lambda config: encoder
sys.argv = ["prefine", *sys.argv[1:]]
cli.main()
"""


def words(seed: int, count: int) -> str:
    """Words that no other seed has."""
    rng = random.Random(seed)
    return " ".join(f"{rng.choice(WORDS)}{seed}" for _ in range(count))


def rows_of(count: int, first: int = 0) -> list[Row]:
    """Pairs whose chosen answer is the longer one."""
    return [
        {
            "prompt": f"Say something about topic{n}: {words(n, 4)}?",
            "chosen": f"Well: {words(10_000 + n, 14)}.",
            "rejected": f"No: {words(20_000 + n, 9)}!",
        }
        for n in range(first, first + count)
    ]


def endpoint(server: Server, name: str = "local", **changed: Any) -> Row:
    """An endpoint as the config has it: a price of 1 for a token, in millionths."""
    return {"name": name, "base_url": server.url, "model": "scripted", "price": {"input": 1.0, "output": 1.0}, **changed}


def case(rows: list[Row], endpoints: list[Row], partitions: int = 1, **settings: Any) -> Case:
    """A run that writes detailed rationales with the first of the endpoints, unless told otherwise."""
    given: Row = {"partitions": partitions, "endpoints": endpoints, "rules": {"preset": "none"}, "publish": {"validation_share": 0.2}}
    given["content"] = {"language": False, "personal": False}  # the slow ones
    given["rationales"] = {"endpoint": endpoints[0]["name"]}
    return Case({"pairs.jsonl": rows}, [{"name": "pairs", "uri": "pairs.jsonl"}], given | settings)


def write(given: Case, folder: Path) -> Path:
    """Its files, and the config, for a command."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in given.files.items():
        (folder / name).write_bytes(as_lines(rows))
    place = folder / "prefine.yaml"
    config = {"dataset": "votes", "sources": given.sources, "annotators": {"ids": "plain"}, **given.settings}
    place.write_text(yaml.safe_dump(config), encoding="utf-8")
    return place


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """`prefine` with these arguments, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def published(folder: Path) -> Published:
    """What a command published there."""
    root = folder / "workspace" / "datasets" / "votes"
    return Published(cast(Outcome, SimpleNamespace(dataset_root=str(root), version=queries.current_version(str(root)))))


def content(found: Published) -> str:
    """The hash of all that was published."""
    told: str = found.manifest()["content_sha256"]
    return told


def explained(found: Published) -> set[str]:
    """The pairs that have a rationale."""
    return set(found.table("data").filter(pl.col("rationale").is_not_null())["pair_id"])


def places_with(text: str, folder: Path) -> list[str]:
    """Files that hold a text, as they are or within Parquet."""
    found = []
    for place in sorted(folder.rglob("*")):
        if not place.is_file():
            continue
        held = place.read_bytes()
        if place.suffix == ".parquet":
            held += str(pl.read_parquet(place).to_dicts()).encode()
        if text.encode() in held:
            found.append(place.name)
    return found


def follow(server: Server, **script: Any) -> Server:
    """Give a server a script, the answers to everything unless it says others, with nothing counted yet."""
    server.rewrite(Script(**{"answer": EVERYTHING, **script}))
    server.forget()
    return server
