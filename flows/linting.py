"""`prefine lint`: which rows of an export its trainer would drop, cut or misread, counted before anyone trains on them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from flows import exporting, steps
from pipeline import embed
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.lint import PROFILES, READS, Finding, Profile, Rendering, Tally, check
from pipeline.signals.truncation import Tokenizer

PARTS: Final = (*exporting.SPLITS, exporting.OTHER)


@dataclass(frozen=True)
class Asked:
    """What to lint for.

    Attributes:
        form: one of the formats with a profile.
        options: of the export, as for `prefine export`.
        version: e.g. v000001; the current one when None.
        tokenizer: hub id or folder of the model to be trained; the config's when None.
        max_length: the trainer's window, tokens; its default when None.
        max_prompt_length: likewise of trainers that limit prompts alone.
        splits: of PARTS.
    """

    form: str
    options: Options
    version: str | None = None
    tokenizer: str | None = None
    max_length: int | None = None
    max_prompt_length: int | None = None
    splits: tuple[str, ...] = PARTS


@dataclass(frozen=True)
class Linted:
    """What a lint says.

    Attributes:
        trainer: its name.
        source: where its rules were read.
        pairs: looked at.
        affected: dropped, truncated or mangled.
        window: tokens; None: there is none.
        exact: whether the tokens are those of training; else an estimate.
        longest: tokens of the longest conversation counted; 0: none could be longer than the window.
        findings: per reason.
        notes: for all rows.
    """

    trainer: str
    source: str
    pairs: int
    affected: int
    window: int | None
    exact: bool
    longest: int
    findings: list[Finding]
    notes: list[str]


def lint(config: PipelineConfig, dataset_root: str, asked: Asked, done: Callable[[int], None] = lambda _: None) -> Linted:
    """Look at all pairs that an export would write, a row group of a shard at a time.

    Args:
        config: for its tokenizer.
        dataset_root: the dataset's folder or URL.
        asked: what for.
        done: gets the number of pairs done since its last call.

    Raises:
        ConfigError: no such format, one without rules, a limit that its trainer does not have, or a tokenizer that cannot be loaded.
        NotFoundError: no such version.
    """
    profile = _profile(asked)
    length = _window(asked, profile)
    request = exporting.Request(asked.form, asked.options, asked.version, asked.splits, allow_loss=True)
    parts = exporting.converted(dataset_root, request, READS)
    tokenizer, rendering, may_shrink = _reader(config, asked.tokenizer, profile)
    tally, counts, advice = Tally(), Counter[str](), None
    for pairs, result, numbers, wanted in parts:
        left_out = result.dropped.select("pair_id", "reason").unique("pair_id", keep="first", maintain_order=True)
        left_out = left_out.filter(~pl.col("reason").is_in(["same_prompt", "conflicting_labels"]))
        tally.add_left_out(left_out)
        written = pairs.select(READS).join(left_out, on="pair_id", how="anti", maintain_order="left")
        tally.add(*check(written, profile, rendering, tokenizer, length, may_shrink=may_shrink))
        counts.update(numbers)
        advice = wanted.advice
        done(pairs.height)
    notes = [*profile.notes, *(advice(dict(counts)) if advice else [])]
    exact = rendering.is_exact and profile.renders == "chat"
    return Linted(profile.trainer, profile.source, tally.pairs, tally.affected, length, exact, tally.longest, tally.findings(), notes)


def _profile(asked: Asked) -> Profile:
    if asked.form not in PROFILES:
        why = "people read it, or no trainer's rules are known" if asked.form in FORMATS else "there is no such format"
        raise ConfigError(f"--format {asked.form}: nothing to lint: {why}. Expected one of {', '.join(PROFILES)}.")
    profile = PROFILES[asked.form]
    if asked.options.weights == "repeat":  # rows count by their weights without the trainer's help
        profile = replace(profile, reads=profile.reads | {"weight"})
    return replace(profile, renders="text") if asked.options.form == "text" and asked.options.render is None else profile


def _window(asked: Asked, profile: Profile) -> int | None:
    if profile.limits == "prompt":
        if asked.max_length is not None:
            raise ConfigError(f"--max-length: {profile.trainer} limits prompts alone. Give --max-prompt-length.")
        return asked.max_prompt_length or profile.max_length
    if asked.max_prompt_length is not None:
        raise ConfigError(f"--max-prompt-length: {profile.trainer} has no limit for prompts alone. Give --max-length.")
    return asked.max_length or profile.max_length


def _reader(config: PipelineConfig, name: str | None, profile: Profile) -> tuple[Tokenizer, Rendering, bool]:
    """What counts tokens, how conversations are written, and whether a text may have more tokens than bytes."""
    given = name or config.content.truncation.tokenizer
    if given is None:
        return steps.tokenizer(config), Rendering(), True
    found: Any = embed.load_fast_tokenizer(given, "--tokenizer" if name else "content.truncation.tokenizer")
    chat = found if found.chat_template and profile.renders != "text" else None
    end = str(found.eos_token or "") if profile.ends_with_eos or profile.renders == "text" else ""
    return embed.BareTokenizer(found), Rendering(chat, end, strips=profile.strips), found.backend_tokenizer.normalizer is not None
