"""One model and one way to write conversations: answers in, rows of the store out."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.ches import follow_up, tables
from pipeline.ches.loading import load_causal_model, load_chat_tokenizer
from pipeline.ches.model import CausalModel
from pipeline.ches.rendering import Renderer
from pipeline.ches.work import Wanted
from pipeline.config import ChesConfig
from pipeline.errors import ConfigError
from pipeline.stage import runs_of
from pipeline.texts import text_of

SUMS, FOLLOW_UPS = "hidden-sums", "follow-ups"  # kinds of results in the store
_CHARACTERS = 4096  # of a prompt and answer that are thought of as usual: longer ones count for several


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
    def kinds(self) -> tuple[str, ...]:
        """The kinds of results, by which the store keeps them: SUMS, and FOLLOW_UPS where there are some."""
        return (SUMS,) if self.follow_ups is None else (SUMS, FOLLOW_UPS)

    def fingerprint(self, kind: str) -> str:
        """Everything that a result depends on, besides prompt and answer."""
        read = (self.model.fingerprint, self.renderer.template_hash)
        if kind == FOLLOW_UPS and self.follow_ups is not None:
            return follow_up.follow_up_fingerprint(*read, self.follow_ups)
        return tables.sums_fingerprint(*read, **asdict(self.wanted))

    def schema(self, kind: str) -> pa.Schema:
        """The store's columns for a result."""
        return follow_up.follow_up_schema() if kind == FOLLOW_UPS else tables.sums_schema(self.model.dimensions, **asdict(self.wanted))

    def slices(self, kind: str, responses: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows of `tables.responses_of`, as many as the model needs to run at full speed, and few enough to hold their tokens."""
        characters = responses.select(text_of("prompt").str.len_chars() + text_of("response").str.len_chars()).to_series().to_numpy()
        times = len(self.follow_ups.texts) if kind == FOLLOW_UPS and self.follow_ups is not None else 1
        most = self.model.responses_at_once * _CHARACTERS
        for rows in runs_of(times * np.maximum(characters.astype(np.int64), _CHARACTERS), most):
            yield responses[rows]

    def score(self, kind: str, responses: pl.DataFrame, on_progress: Callable[[int], None]) -> pa.Table:
        """Run answers through the model.

        Args:
            kind: SUMS, of hidden states; or FOLLOW_UPS: how much likelier good reactions than bad ones are after each answer.
            responses: rows of `tables.responses_of`.
            on_progress: gets the number of answers done since its last call.

        Returns:
            `schema(kind)`; an answer that cannot be scored has a reason instead.
        """
        prompts, tools, answers = (responses.get_column(name).to_list() for name in ("prompt", "tools", "response"))
        if kind == FOLLOW_UPS and self.follow_ups is not None:
            rendered = self.renderer.follow_ups(prompts, tools, answers, self.follow_ups.texts)
            scored = self.model.score(rendered.sequences, Wanted(logps=True))
            assert scored.logps is not None
            rows, scores = follow_up.follow_up_scores(rendered.rows, rendered.follow_ups, scored.logps, scored.tokens, self.follow_ups)
            on_progress(responses.height)
            return follow_up.follow_up_table(responses, rows, scores, rendered.reasons)
        groups = responses.select(pl.struct("prompt_id", "tools").rank("dense")).to_series().to_list()
        rendered = self.renderer.responses(prompts, tools, answers, groups)
        on_progress(responses.height - rendered.rows.size)
        scored = self.model.score(rendered.sequences, self.wanted, on_progress)
        return tables.table_of(responses, rendered.rows, rendered.reasons, rendered.cut, scored)

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
    same = config.model_copy(update={"max_length": strong.renderer.max_length})
    try:
        weak = _load(str(config.weak_model), None, same, Wanted(logps=True), threads, device, None)
    except ConfigError as error:
        raise ConfigError(str(error).replace("signals.ches.model:", "signals.ches.weak_model:", 1)) from error
    if weak.renderer.max_length < strong.renderer.max_length:
        raise ConfigError(
            f"signals.ches.weak_model: {config.weak_model!r} reads {weak.renderer.max_length} tokens at most, {config.model!r} "
            f"{strong.renderer.max_length}; a density ratio compares the same tokens. Set max_length: {weak.renderer.max_length}."
        )
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
    model = load_causal_model(name, revision=revision, dtype=config.dtype, batch_tokens=config.batch_tokens, threads=threads, device=device)
    renderer = Renderer(tokenizer, config.template, min(config.max_length, model.longest), name)
    return Scorer(name, revision, model, renderer, wanted, follow_ups)
