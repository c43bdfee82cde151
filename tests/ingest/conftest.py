"""Write a file, ingest it, look at the rows."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import SourceConfig
from pipeline.ingest import QUARANTINED, RAW_JUDGEMENT, RAW_RATING, count_rows, read_records


@dataclass
class Ingested:
    judgements: pl.DataFrame
    quarantined: pl.DataFrame
    rows: int
    ratings: pl.DataFrame

    def one(self) -> dict[str, Any]:
        """The only judgement, of a file without quarantined rows."""
        assert self.quarantined.height == 0, self.quarantined.rows()
        return self.judgements.row(0, named=True)

    def said(self, column: str) -> list[list[tuple[str, str]]]:
        """A column of messages as (role, content)."""
        return [[(m["role"], m["content"]) for m in messages] for messages in self.judgements[column].to_list()]

    def reasons(self) -> list[tuple[int, str, str | None]]:
        return list(self.quarantined.select("source_row", "reason", "field").iter_rows())


def ingest_place(place: str, *, limit: int | None = None, **source: object) -> Ingested:
    config = SourceConfig.model_validate({"name": "src", "uri": place, **source})
    batches = list(read_records(place, "raw/file", config, "overall", limit))
    read = Ingested(
        pl.concat([RAW_JUDGEMENT.to_frame(), *(b.judgements for b in batches)]),
        pl.concat([QUARANTINED.to_frame(), *(b.quarantined for b in batches)]),
        sum(b.rows for b in batches),
        pl.concat([RAW_RATING.to_frame(), *(b.ratings for b in batches)]),
    )
    known = set(read.judgements["source_row"]) | set(read.ratings["source_row"]) | set(read.quarantined["source_row"])
    assert len(known) == read.rows  # every row is a judgement or quarantined
    if limit is None:
        assert count_rows(place) == read.rows
    return read


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., Ingested]:
    """Rows (or the file's own text) -> what ingest makes of them."""

    def run(rows: list[Any] | str | bytes, name: str = "data.jsonl", limit: int | None = None, **source: object) -> Ingested:
        if isinstance(rows, list):
            rows = "\n".join(json.dumps(row) for row in rows) + "\n"
        content = rows.encode() if isinstance(rows, str) else rows
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return ingest_place(str(path), limit=limit, **source)

    return run
