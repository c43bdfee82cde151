"""A published version as a source: the votes of its published pairs, with the ids that they have.

Curating it again merges and drops nothing (design: fixpoint): copies and dropped pairs stay behind, names stay as they
were published, and the same votes give the same posteriors.
"""

from collections.abc import Iterator

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline.schemas import JUDGEMENT, PAIR

BATCH_ROWS = 20_000


def read_votes(place: str, version_folder: str, source: str, name: str, limit: int | None = None) -> Iterator[pl.DataFrame]:
    """The votes of one judgements file whose pair the version publishes.

    Args:
        place: a file of `judgements/`.
        version_folder: the version it belongs to.
        source: the source's name in this run.
        name: the file as published; becomes `source_uri`.
        limit: at most that many votes.

    Yields:
        Rows as `pipeline.identity.identify` gives them; `base_id` is the judgement's id, which no second vote shares. A vote
        that was derived from ratings is a vote like any other. `source_split` is the split that the version gave the pair: it
        may be held out for what its votes do not say, such as a test split of a dropped pair with its prompt.
    """
    published = _published_pairs(version_folder)
    pairs = published.column("pair_id").combine_chunks()
    split = pl.DataFrame(published).rename({"split": "source_split"})
    left = limit
    position = 0
    with fsspec.open(place, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=JUDGEMENT.names):
            table = pa.table(batch).append_column("_row", pa.array(range(position, position + batch.num_rows), pa.int64()))
            position += batch.num_rows
            table = table.filter(pc.and_(pc.is_in(table.column("pair_id"), value_set=pairs), pc.invert(table.column("is_copy"))))
            rows = pl.DataFrame(pl.from_arrow(table)).drop("source_split").join(split, on="pair_id", how="left", maintain_order="left")
            rows = rows if left is None else rows.head(left)
            if rows.height:
                yield rows.with_columns(
                    source=pl.lit(source), source_uri=pl.lit(name), source_row="_row", base_id="judgement_id", vote_layout=pl.lit(False)
                ).drop("_row", "judgement_id", "is_copy")
            if left is not None:
                left -= rows.height
                if left <= 0:
                    return


def count_votes(place: str, version_folder: str) -> int:
    """The same rows, counted by DuckDB."""
    fs, path = url_to_fs(place)
    con = duckdb.connect()
    try:
        con.register("judgements", ds.dataset(path, filesystem=fs, format="parquet"))
        con.register("pairs", _published_pairs(version_folder))
        counted = con.execute("select count(*) from judgements where not is_copy and pair_id in (select pair_id from pairs)").fetchone()
        return int(counted[0]) if counted else 0
    finally:
        con.close()


def _published_pairs(version_folder: str) -> pa.Table:
    """The pairs of data/ (pair_id, split), which has no file at all when nothing was published."""
    fs, path = url_to_fs(f"{version_folder}/data")
    schema = pa.schema([PAIR.field("pair_id"), PAIR.field("split")])
    if not fs.exists(path):
        return schema.empty_table()
    pairs: pa.Table = ds.dataset(path, filesystem=fs, format="parquet").to_table(columns=schema.names)
    return pairs
