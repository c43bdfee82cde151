"""One model and one way to write conversations: answers in, rows of the store out."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.ches import follow_up, tables
from pipeline.ches.loading import load_causal_model, load_chat_tokenizer
from pipeline.ches.model import CausalModel, Wanted
from pipeline.ches.rendering import Renderer
from pipeline.config import ChesConfig
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Scorer:
    """What a causal model says of answers.

    Attributes:
        name: hub id or folder, for messages and the manifest.
        revision: of a hub id.
        model: the network.
        renderer: turns conversations into tokens.
        wanted: what is stored besides the sums of hidden states.
        follow_ups: what a user might say next.
        lock: held by whoever uses the model.
    """

    name: str
    revision: str | None
    model: CausalModel
    renderer: Renderer
    wanted: Wanted
    follow_ups: follow_up.FollowUps | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Everything that what is stored of an answer depends on, besides prompt and answer."""
        return tables.sums_fingerprint(self.model.fingerprint, self.renderer.template_hash, **asdict(self.wanted))

    @property
    def schema(self) -> pa.Schema:
        """Columns of the store for what `score` gives."""
        return tables.sums_schema(self.model.dimensions, **asdict(self.wanted))

    @property
    def follow_up_fingerprint(self) -> str | None:
        """Everything that the likelihood of follow-ups depends on, besides prompt and answer; None where there are none."""
        if self.follow_ups is None:
            return None
        return follow_up.follow_up_fingerprint(self.model.fingerprint, self.renderer.template_hash, self.follow_ups)

    def score(self, responses: pl.DataFrame, on_progress: Callable[[int], None]) -> pa.Table:
        """Run answers through the model.

        Args:
            responses: rows of `tables.responses_of`.
            on_progress: gets the number of answers done since its last call.

        Returns:
            `schema`; an answer that cannot be scored has a reason instead.
        """
        rendered = self.renderer.responses(*_conversations(responses))
        on_progress(responses.height - rendered.rows.size)
        scored = self.model.score(rendered.sequences, self.wanted, on_progress)
        return tables.table_of(responses, rendered.rows, rendered.reasons, rendered.cut, scored)

    def score_follow_ups(self, responses: pl.DataFrame) -> pa.Table:
        """How much likelier good reactions than bad ones are after each answer: `follow_up.follow_up_schema`."""
        assert self.follow_ups is not None
        prompts, tools, answers, _ = _conversations(responses)
        rendered = self.renderer.follow_ups(prompts, tools, answers, self.follow_ups.texts)
        scored = self.model.score(rendered.sequences, Wanted(logps=True))
        assert scored.logps is not None
        rows, scores = follow_up.follow_up_scores(rendered.rows, rendered.follow_ups, scored.logps, scored.tokens, self.follow_ups)
        return follow_up.follow_up_table(responses, rows, scores, rendered.reasons)

    def about(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "model": self.name,
            "revision": self.revision,
            "fingerprint": self.model.fingerprint,
            "template": self.renderer.mode,
            "template_hash": self.renderer.template_hash,
            "max_length": self.renderer.max_length,
            "dtype": self.model.dtype,
            "device": self.model.device,
            "batch_tokens": self.model.batch_tokens,
            "stepped_down_from": self.model.stepped_down_from,
            "shares_prefix": self.model.shares_prefix,
        }


def load_scorer(config: ChesConfig, threads: int | None, device: str | None = None) -> Scorer:
    """Load the model that `signals.ches` names.

    Raises:
        ConfigError: it is not there, is broken, or does not fit the rest of the config.
    """
    wanted = Wanted(logps=config.logps or config.weak_model is not None, last=config.last_hidden)
    said = config.follow_ups
    follow_ups = None if said is None else follow_up.distinct_follow_ups(said.positive, said.negative)
    return _load(str(config.model), config.revision, config, wanted, threads, device, follow_ups)


def load_weak_scorer(config: ChesConfig, strong: Scorer, threads: int | None, device: str | None = None) -> Scorer:
    """Load `signals.ches.weak_model`, for density ratios.

    Raises:
        ConfigError: as `load_scorer`; or its tokens, or its conversations, are not those of the strong one.
    """
    weak = _load(str(config.weak_model), None, config, Wanted(logps=True), threads, device, None)
    if weak.renderer.template_hash != strong.renderer.template_hash:
        raise ConfigError(
            f"signals.ches.weak_model: {config.weak_model!r} has another tokenizer or chat template than {config.model!r}; a density ratio "
            "compares the probabilities of the same tokens. Name a weaker model of the same family, or set `template: plain`."
        )
    return weak


def _load(
    name: str,
    revision: str | None,
    config: ChesConfig,
    wanted: Wanted,
    threads: int | None,
    device: str | None,
    follow_ups: follow_up.FollowUps | None,
) -> Scorer:
    tokenizer = load_chat_tokenizer(name, revision)
    model = load_causal_model(
        name, revision=revision, dtype=config.dtype, batch_tokens=config.batch_tokens, threads=threads, device=device
    )
    renderer = Renderer(tokenizer, config.template, min(config.max_length, model.longest), name)
    if len(tokenizer) > model.vocabulary:
        raise ConfigError(
            f"signals.ches.model: the tokenizer of {name!r} has {len(tokenizer)} tokens, its model {model.vocabulary}: they do not belong "
            "together. Save both from one checkpoint."
        )
    return Scorer(name, revision, model, renderer, wanted, follow_ups)


def _conversations(responses: pl.DataFrame) -> tuple[list[Any], list[str | None], list[Any], list[int]]:
    groups = responses.select(pl.struct("prompt_id", "tools").rank("dense")).to_series().to_list()
    return responses["prompt"].to_list(), responses["tools"].to_list(), responses["response"].to_list(), groups

