"""`prefine queue`: the pairs of a published version that deserve a human's second look, as a file for an annotation tool."""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline import queries, routing
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError

FORMATS: Final = ("jsonl", "label-studio")
_DEFAULT_ACCURACY: Final = 0.75  # where no annotator's is known: about what two people's agreement on such pairs says
_NEEDED: Final = (
    "pair_id, prompt_id, criterion, context, tools, prompt, chosen, rejected, chosen_id, rejected_id, p_chosen, p_tie, noise_score, "
    "votes_chosen, votes_rejected, votes_tie"
)


def questions(config: PipelineConfig, version: queries.Catalogue, budget: int) -> pl.DataFrame:
    """The pairs whose next vote teaches most: published ones, and those that left because their votes do not decide.

    Raises:
        ConfigError: texts were masked, so that answers would speak of other texts than the pairs' ids.
    """
    if config.content.mask:
        raise ConfigError(
            "content.mask: the published texts are masked, and pairs have the ids of the unmasked ones: answers to a queue would count for "
            "other pairs. Publish without `mask:` to a dataset of its own, and queue from there."
        )
    rows = version.query(
        f"select {_NEEDED} from pairs union all by name select {_NEEDED} from dropped where reason in ('tie', 'no_vote_counts')"
    )
    typical = version.query(
        "select sum(accuracy * votes) / sum(votes) filter (where accuracy is not null) as accuracy, sum(tie_share * votes) / sum(votes) as "
        "tie_share from annotators where annotator_kind = 'human' or not exists (from annotators where annotator_kind = 'human')"
    ).to_pylist()[0]
    accuracy = min(1.0, max(0.5, typical["accuracy"] or _DEFAULT_ACCURACY))
    return routing.queue(_frame(rows), accuracy, typical["tie_share"] or 0.0, budget)


def written(asked: pl.DataFrame, form: str) -> str:
    """The questions as the text of a file."""
    return routing.to_jsonl(asked) if form == "jsonl" else routing.to_label_studio(asked)


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))
