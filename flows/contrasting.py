"""`prefine contrast`: items of two similar prompts of a published version for a scorer to score, and how well it told them apart."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

from flows import steps, vectors
from pipeline import contrast, queries, storage
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.identity import content_hash
from pipeline.stage import bucket_of
from pipeline.statistics.table import STATISTIC
from pipeline.store import Store
from pipeline.texts import is_blank, text_of

# Of each cluster of near duplicates one prompt, since what answers one of them may answer the others, and of it the answer whose label
# is surest. Prompts with tools are left out: their items would have to hold the tools.
_BEST: Final = """
with asked as (
    select min(prompt_id) as prompt_id from pairs where tools is null group by prompt_cluster_id order by prompt_id limit {most}
),
best as (
    select pair_id from pairs semi join asked using (prompt_id) where tools is null
    qualify row_number() over (partition by prompt_id order by p_soft desc, p_chosen desc, pair_id) = 1
)
select prompt_id, prompt, chosen as answer from pairs semi join best using (pair_id) order by prompt_id
"""
_MEASURED: Final = {
    "response_consistency": "a prompt's own answer above the other prompt's",
    "instruction_consistency": "an answer higher under its own prompt than under the other",
}


def items(config: PipelineConfig, base: Path, version: queries.Catalogue, most: int, done: Callable[[int], None]) -> pl.DataFrame:
    """What a scorer has to score.

    Args:
        config: of the dataset; its store has the vectors of the prompts. Those of texts that are not there (because masking changed
            them) are added.
        base: where the config's relative paths start.
        version: the published version.
        most: contrasts at most, the nearest prompts first.
        done: gets the number of prompts looked at since its last call.

    Returns:
        Rows of `contrast.contrast_items`, of the first prompts by id, `contrast.MAX_PROMPTS` at most.
    """
    rows = pl.DataFrame(pl.from_arrow(version.query(_BEST.format(most=contrast.MAX_PROMPTS))))
    prompts = rows.with_columns(text=text_of("prompt"), bucket=bucket_of("prompt_id")).filter(~is_blank(pl.col("text")))
    prompts = prompts.with_columns(text_id=content_hash(prompts.get_column("text"), "text"))
    store, model = Store(storage.join(storage.resolve(config.workspace, base), "store")), steps.encoder(config.embed)
    vectors.embed_missing(store, model, prompts.select("bucket", "text_id", "text").unique(["bucket", "text_id"]), done)
    index, stored = vectors.needed(store, model, prompts.get_column("text_id"))
    at = prompts.join(index, on="text_id", how="left", maintain_order="left").get_column("index").to_numpy()
    return contrast.contrast_items(contrast.contrasts(prompts, stored[at], most), prompts)


def written(asked: pl.DataFrame) -> str:
    """The items as JSON lines; a scorer adds its number to `scores`, under its name."""
    return "".join(json.dumps(_slim(row) | {"scores": {}}, ensure_ascii=False) + "\n" for row in asked.iter_rows(named=True))


def _slim(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose messages have no fields without a value."""
    said = {side: [{key: value for key, value in one.items() if value is not None} for one in row[side]] for side in ("prompt", "answer")}
    return row | said


def report(scored: bytes, name: str) -> pl.DataFrame:
    """What the scores of an answered file say of each scorer.

    Args:
        scored: a file of `written`, with numbers in `scores`. Its lines name both prompts of each contrast, so that neither the version
            nor its order is needed; an item without a line counts like one without a score.
        name: of the file, for errors.

    Returns:
        STATISTIC: two rows a scorer, of `contrast.contrast_consistency`.

    Raises:
        ConfigError: a line is no such item, or stands there twice, or no line has a score.
    """
    lines = [_item(line, f"{name}, line {number}") for number, line in enumerate(scored.splitlines(), 1) if line.strip()]
    told = pl.DataFrame(
        [(prompt, answer, model, score) for prompt, answer, scores in lines for model, score in scores.items()],
        schema={"prompt_id": pl.String, "answer_of": pl.String, "model": pl.String, "score": pl.Float64},
        orient="row",
    )
    if told.is_empty():
        raise ConfigError(f'{name}: no line has a score. Write each scorer\'s number into `scores` of every line: {{"my-model": 1.5}}.')
    asked = pl.DataFrame([line[:2] for line in lines], schema={"prompt_id": pl.String, "answer_of": pl.String}, orient="row")
    twice = asked.filter(asked.is_duplicated())
    if twice.height:
        prompt, answer = twice.row(0)
        raise ConfigError(f"{name}: the item of prompt {prompt} with the answer of {answer} stands there twice; expected each item once.")
    found = asked.filter(pl.col("prompt_id") != pl.col("answer_of")).select(
        first=pl.min_horizontal(pl.all()), second=pl.max_horizontal(pl.all())
    )
    of_each = told.partition_by("model", as_dict=True).items()
    parts = [contrast.contrast_consistency(found.unique(), part, str(model)) for (model,), part in of_each]
    return pl.concat([STATISTIC.to_frame(), *parts]).sort("subject", "statistic", descending=[False, True])


def _item(line: bytes, where: str) -> tuple[str, str, dict[str, float | None]]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: is not JSON ({error}). Expected the lines that `prefine contrast --output` wrote.") from None
    known = isinstance(said, dict) and all(isinstance(said.get(key), str) for key in ("prompt_id", "answer_of"))
    if not known or not isinstance(said.get("scores"), dict):
        raise ConfigError(f"{where}: expected an object with prompt_id, answer_of and scores, as `prefine contrast --output` wrote it.")
    for model, score in said["scores"].items():
        if isinstance(score, bool) or not isinstance(score, int | float | None):
            raise ConfigError(f"{where}: the score of {model!r} is {score!r}; expected a number, or null where there is none.")
    return said["prompt_id"], said["answer_of"], {model: None if score is None else float(score) for model, score in said["scores"].items()}


def render(found: pl.DataFrame) -> Iterator[str]:
    """What `report` found, as lines for a person."""
    for model, rows in found.group_by("subject", maintain_order=True):
        yield str(model[0])
        for row in rows.iter_rows(named=True):
            yield f"  {row['statistic'].replace('_', ' ')}: {_number(row)}  ({_MEASURED[row['statistic']]})"
            if row["value"] is not None and row["note"]:
                yield f"    {row['note']}"
    yield "One half is chance, and equal scores are failures. Where the interval reaches down to one half, the scorer may be guessing."


def _number(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return f"not known: {row['note']}"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}, {row['n']:,} comparisons)"
