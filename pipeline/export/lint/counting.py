"""Conversations as a trainer's tokenizer sees them: text, then counts of tokens."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.export.messages import SIDES
from pipeline.export.sides import BREAK
from pipeline.signals.truncation import Tokenizer, common_prefix
from pipeline.stage import runs_of
from pipeline.texts import text_of

_SLICE_CHARACTERS: Final = 1 << 23  # of conversations whose tokens are held at once
COUNTS: Final = ("prompt_tokens", "kept_prompt_tokens", "chosen_tokens", "rejected_tokens", "shared_tokens")
_QUESTION: Final = {"role": "user", "content": "[[dummy_message]]"}  # as axolotl's loader writes it
_MARK: Final = "\x00answer\x00"


class Rendering:
    """How a trainer writes a conversation.

    Args:
        tokenizer: of transformers, with a chat template; None: texts are put end to end, as exports of plain text have them.
        end: what follows an answer that does not end with it.
        strips: white space at the end is taken away.
    """

    def __init__(self, tokenizer: Any = None, end: str = "", *, strips: bool = False) -> None:  # noqa: ANN401 (transformers' base class lacks what we call)
        self._tokenizer = tokenizer
        self._end = end
        self._strips = strips

    @property
    def is_exact(self) -> bool:
        """Whether a chat template writes the conversations."""
        return self._tokenizer is not None

    def texts(self, pairs: pl.DataFrame, *, prompts_only: bool = False) -> pl.DataFrame:
        """Write conversations.

        Args:
            pairs: `prompt`, `chosen`, `rejected` as messages, `tools`.
            prompts_only: answers do not matter; `chosen_text` and `rejected_text` are the prompt's then.

        Returns:
            One row a pair, in their order: `prompt_text`, `chosen_text`, `rejected_text` (prompt and answer; null where the template
            refuses), and `lost`: what the texts leave out: `system`, `turn`, `tools`, or null.
        """
        if self._tokenizer is None:
            prompt = pl.concat_str(text_of("prompt"), pl.lit(BREAK))
            answers = {f"{side}_text": pl.concat_str(prompt, text_of(side), pl.lit(self._end)) for side in SIDES[1:]}
            return pairs.select(prompt_text=prompt, **answers, lost=pl.lit(None, pl.String))
        # A loop over rows: a chat template renders one conversation at a time.
        rows, known = [], dict[tuple[str, str | None], tuple[str | None, str | None]]()
        for prompt_, chosen, rejected, tools in pairs.select(*SIDES, "tools").iter_rows():
            messages = [_given(turn) for turn in prompt_]
            key = (json.dumps(messages), tools)
            if key not in known:
                known[key] = self._prompt(messages, tools)
            text, lost = known[key]
            said = [] if prompts_only else [chosen, rejected]
            wholes = [self._ended(self._written([*messages, *map(_given, answer)], tools, opens=False)) for answer in said]
            rows.append((text, *(wholes or (text, text)), lost))
        names = ("prompt_text", "chosen_text", "rejected_text", "lost")
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")

    def before_answer(self) -> tuple[str, bool] | None:
        """What the template writes before the answer to a short question, and whether it trims answers; None: it refuses."""
        told = self._written([_QUESTION, {"role": "assistant", "content": _MARK}], None, opens=False)
        padded = self._written([_QUESTION, {"role": "assistant", "content": f" {_MARK} "}], None, opens=False)
        if told is None or padded is None or _MARK not in told:
            return None
        return told[: told.index(_MARK)], f" {_MARK} " not in padded

    def _prompt(self, messages: list[dict[str, Any]], tools: str | None) -> tuple[str | None, str | None]:
        text = self._written(messages, tools, opens=True)
        if text is None:
            return None, "system" if any(turn["role"] == "system" for turn in messages) and self._takes_without_system(messages) else None
        missing = [turn["role"] for turn in messages if (turn["content"] or "").strip() not in text]
        if missing:
            return text, "system" if set(missing) == {"system"} else "turn"
        return text, "tools" if tools is not None and any(name not in text for name in _names(tools)) else None

    def _takes_without_system(self, messages: list[dict[str, Any]]) -> bool:
        return self._written([turn for turn in messages if turn["role"] != "system"], None, opens=True) is not None

    def _written(self, messages: Sequence[dict[str, Any]], tools: str | None, *, opens: bool) -> str | None:
        try:
            given = None if tools is None else json.loads(tools)
            return str(self._tokenizer.apply_chat_template(list(messages), tools=given, add_generation_prompt=opens, tokenize=False))
        except MemoryError:
            raise
        except Exception:  # a template is a program: it may raise anything
            return None

    def _ended(self, text: str | None) -> str | None:
        if text is None or not self._end:
            return text.rstrip() if text and self._strips else text
        text = text.rstrip("\n")
        return text if text.endswith(self._end) else f"{text} {self._end}"


def count(texts: pl.DataFrame, tokenizer: Tokenizer, below: int | None) -> pl.DataFrame:
    """Tokens of conversations, and how many both of a pair begin with.

    Args:
        texts: rows of `Rendering.texts`.
        tokenizer: without special tokens of its own.
        below: conversations of fewer bytes than this are not counted: a token is at least a byte, so that they are within the window. None:
            all are counted.

    Returns:
        COUNTS, int64, one row a pair; null where nothing was counted or the template refused. Without `kept_prompt_tokens` less than
        `prompt_tokens` the rendered prompt is a prefix of both conversations, token by token.
    """
    sides = ["prompt_text", "chosen_text", "rejected_text"]
    bytes_ = pl.max_horizontal(pl.col(sides).str.len_bytes())
    wanted = pl.all_horizontal(pl.col(sides).is_not_null()) & (pl.lit(True) if below is None else bytes_ >= below)
    rows = texts.with_row_index("_row").filter(wanted)
    sizes = rows.select(pl.sum_horizontal(pl.col(sides).str.len_chars().cast(pl.Int64))).to_series().to_numpy()
    parts = [_counted(rows[part], tokenizer) for part in runs_of(sizes, _SLICE_CHARACTERS)] if rows.height else []
    found = pl.concat(parts) if parts else pl.DataFrame(schema={"_row": pl.UInt32, **dict.fromkeys(COUNTS, pl.Int64)})
    every = texts.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("_row"))
    return every.join(found, on="_row", how="left", maintain_order="left").drop("_row")


def _counted(rows: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    # Texts are counted once: prompts of several pairs, and prompts that stand for answers.
    prompts = rows["prompt_text"].unique(maintain_order=True)
    ids, offsets = tokenizer.token_ids(prompts.to_list())
    # Of each pair's prompt: its place among the distinct ones, then its tokens again, as `common_prefix` wants them side by side.
    place = rows["prompt_text"].replace_strict(prompts, pl.arange(prompts.len(), eager=True), return_dtype=pl.Int64).to_numpy()
    sizes = np.diff(offsets)[place]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    prompt = ids[np.repeat(offsets[place], sizes) + np.arange(sizes.sum()) - np.repeat(starts[:-1], sizes)], starts
    alone = rows["chosen_text"].equals(rows["prompt_text"]) and rows["rejected_text"].equals(rows["prompt_text"])
    chosen, rejected = [prompt] * 2 if alone else [tokenizer.token_ids(rows[f"{side}_text"].to_list()) for side in SIDES[1:]]
    kept = np.minimum(common_prefix(*prompt, *chosen), common_prefix(*prompt, *rejected))
    values = (sizes, kept, np.diff(chosen[1]), np.diff(rejected[1]), common_prefix(*chosen, *rejected))
    return rows.select("_row").with_columns(pl.Series(name, value, dtype=pl.Int64) for name, value in zip(COUNTS, values, strict=True))


def _given(turn: dict[str, Any]) -> dict[str, Any]:
    """A stored message as exports hand it on: without fields that it lacks."""
    told: dict[str, Any] = {"role": turn["role"], "content": turn["content"] or ""}
    calls = turn.get("tool_calls")
    if calls:
        try:
            told["tool_calls"] = json.loads(calls)
        except ValueError:
            told["tool_calls"] = calls
    return told


def _names(tools: str) -> list[str]:
    try:
        defined = json.loads(tools)
    except ValueError:
        return []
    listed = defined if isinstance(defined, list) else [defined]
    inner = [tool.get("function", tool) for tool in listed if isinstance(tool, dict)]
    return [tool["name"] for tool in inner if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
