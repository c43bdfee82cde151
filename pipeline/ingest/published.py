"""A published version as a source: the votes of its published pairs, with the ids that they have.

Curating it again merges and drops nothing (design: fixpoint): copies and dropped pairs stay behind, names stay as they
were published, and the same votes give the same posteriors. Votes on near duplicates that were merged into a published pair come
as votes on that pair's prompt and answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline.errors import UnreadableFileError
from pipeline.schemas import JUDGEMENT, PAIR
from pipeline.stage import ASKED

BATCH_ROWS = 20_000
# A page whose checksum is another one is refused; pages of older versions have none.
CHECKED = ds.ParquetFileFormat(default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True))
_TEXTS = ("prompt_id", "prompt", "tools", "chosen_id", "chosen", "rejected_id", "rejected")  # of a pair that others were merged into


def read_votes(place: str, version_folder: str, source: str, name: str, limit: int | None = None) -> Iterator[pl.DataFrame]:
    """The votes of one judgements file whose pair the version publishes.

    Args:
        place: a file of `judgements/`.
        version_folder: the version it belongs to.
        source: the source's name in this run; of verdicts that the version's run asked judges for, `judge:` and that name.
        name: the file as published; becomes `source_uri`.
        limit: at most that many votes.

    Yields:
        Rows as `pipeline.identity.identify` gives them; `base_id` is the judgement's id, which no second vote shares. A vote
        that was derived from ratings is a vote like any other. `source_split` is the split that the version gave the pair: it
        may be held out for what its votes do not say, such as a test split of a dropped pair with its prompt. `moved_from`: the
        pair that the vote was given on where it was merged into another, whose prompt, answers and `pair_id` the row then has
        (side a stays side a); null for others. `moved_a_id`: what its response_a_id was there.

    Raises:
        UnreadableFileError: the file was altered or cut after it was published.
    """
    published = _published_pairs(version_folder, ["pair_id", "split"])
    pairs = published.column("pair_id").combine_chunks()
    split = pl.DataFrame(published).rename({"split": "source_split"})
    left = limit
    position = 0
    with _as_published(place), fsspec.open(place, "rb") as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        stand = _merged_into(parquet, version_folder, pairs)
        for batch in parquet.iter_batches(BATCH_ROWS, columns=JUDGEMENT.names):
            table = _with_later(pa.table(batch)).append_column("_row", pa.array(range(position, position + batch.num_rows), pa.int64()))
            position += batch.num_rows
            counted = pc.coalesce(table.column("merged_into"), table.column("pair_id"))
            table = table.filter(pc.and_(pc.is_in(counted, value_set=pairs), pc.invert(table.column("is_copy"))))
            rows = _moved(pl.DataFrame(pl.from_arrow(table)), stand)
            rows = rows.drop("source_split").join(split, on="pair_id", how="left", maintain_order="left")
            rows = rows if left is None else rows.head(left)
            if rows.height:
                asked = pl.col("source").str.starts_with(ASKED)
                yield rows.with_columns(
                    source=pl.when(asked).then(pl.lit(f"{ASKED}{source}")).otherwise(pl.lit(source)),
                    source_uri=pl.lit(name),
                    source_row="_row",
                    base_id="judgement_id",
                    vote_layout=pl.lit(False),
                ).drop("_row", "judgement_id", "is_copy")
            if left is not None:
                left -= rows.height
                if left <= 0:
                    return


def read_posteriors(version_folder: str, pair_ids: pl.Series) -> pl.DataFrame:
    """What a version's vote model said of some of its published pairs: pair_id, chosen_id, n_votes, p_chosen, p_tie."""
    columns = ["pair_id", "chosen_id", "n_votes", "p_chosen", "p_tie"]
    return pl.DataFrame(_published_pairs(version_folder, columns, pa.chunked_array([pair_ids.to_arrow().cast(pa.string())])))


def moved_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """Which votes come in another pair than the one they were given on, so that the same votes from elsewhere are known as copies.

    Args:
        votes: rows of `read_votes`.

    Returns:
        judgement_id, merged_into, response_a_id (as it was), and merged_a, merged_b: the answers for which its sides stand now.
    """
    return votes.filter(pl.col("moved_from").is_not_null()).select(
        judgement_id="base_id", merged_into="pair_id", response_a_id="moved_a_id", merged_a="response_a_id", merged_b="response_b_id"
    )


def count_votes(place: str, version_folder: str) -> int:
    """The same rows, counted by DuckDB."""
    fs, path = url_to_fs(place)
    con = duckdb.connect()
    try:
        con.register("judgements", ds.dataset(path, schema=JUDGEMENT, filesystem=fs, format=CHECKED))
        con.register("pairs", _published_pairs(version_folder, ["pair_id"]))
        counted = con.execute(
            "select count(*) from judgements where not is_copy and coalesce(merged_into, pair_id) in (select pair_id from pairs)"
        ).fetchone()
        return int(counted[0]) if counted else 0
    finally:
        con.close()


def _published_pairs(version_folder: str, columns: list[str], wanted: "pa.ChunkedArray[Any] | None" = None) -> pa.Table:
    """Columns of the pairs of data/ (of those wanted), which has no file at all when nothing was published."""
    fs, path = url_to_fs(f"{version_folder}/data")
    if not fs.exists(path):
        return pa.schema([PAIR.field(name) for name in columns]).empty_table()
    only = None if wanted is None else pc.field("pair_id").isin(wanted)
    with _as_published(f"{version_folder}/data"):
        pairs: pa.Table = ds.dataset(path, filesystem=fs, format=CHECKED).to_table(columns=columns, filter=only)
    return pairs


@contextmanager
def _as_published(place: str) -> Iterator[None]:
    """Name the place of pages that are not what was published.

    Raises:
        UnreadableFileError: a page's checksum, or its form, is another one.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # the store's own; it may pass
            raise
        raise UnreadableFileError(
            f"{place}: was altered or cut after it was published ({error}). It is not read; `prefine verify` names the file."
        ) from error


def _with_later(judgements: pa.Table) -> pa.Table:
    """A version from before near duplicates were merged, or models' scores read, has no columns that speak of it."""
    for name in ("merged_into", "merged_a", "model_scores"):
        if name not in judgements.column_names:
            judgements = judgements.append_column(JUDGEMENT.field(name), pa.nulls(judgements.num_rows, JUDGEMENT.field(name).type))
    return judgements


def _merged_into(judgements: pq.ParquetFile, version_folder: str, published: "pa.Array[Any]") -> pl.DataFrame:
    """Prompt and answers of the published pairs into which pairs of a file's votes were merged; `pair_id` is named merged_into."""
    column = _with_later(judgements.read(["merged_into"])).column("merged_into")
    into = column.filter(pc.is_in(column, value_set=published)).unique()
    return pl.DataFrame(_published_pairs(version_folder, ["pair_id", *_TEXTS], into)).rename({"pair_id": "merged_into"})


def _moved(votes: pl.DataFrame, stand: pl.DataFrame) -> pl.DataFrame:
    """Votes on merged pairs, said of the pair that counts them; the sides keep their places, so verdicts do too."""
    told = stand.rename({name: f"_{name}" for name in _TEXTS})
    joined = votes.join(told, on="merged_into", how="left", maintain_order="left")
    moved, a_is_chosen = pl.col("merged_into").is_not_null(), pl.col("merged_a") == pl.col("_chosen_id")
    now: dict[str, pl.Expr] = {name: pl.col(f"_{name}") for name in ("prompt_id", "prompt", "tools")} | {"pair_id": pl.col("merged_into")}
    for side, is_chosen in (("a", a_is_chosen), ("b", ~a_is_chosen)):
        now[f"response_{side}"] = pl.when(is_chosen).then("_chosen").otherwise("_rejected")
        now[f"response_{side}_id"] = pl.when(is_chosen).then("_chosen_id").otherwise("_rejected_id")
    return joined.with_columns(
        *(pl.when(moved).then(value).otherwise(name).alias(name) for name, value in now.items()),
        moved_from=pl.when(moved).then("pair_id"),
        moved_a_id=pl.when(moved).then("response_a_id"),
    ).drop("merged_into", "merged_a", *(f"_{name}" for name in _TEXTS))
