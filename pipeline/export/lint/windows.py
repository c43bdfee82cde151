"""What trainers do to sequences longer than their window, as expressions over token counts.

Columns (int64, null: surely within the window): `prompt_tokens`, the rendered prompt; `kept_prompt_tokens`, those that both conversations
begin with; `chosen_tokens` and `rejected_tokens`, prompt and answer; `shared_tokens`, those that both conversations begin with in all.
Rules give reason -> where it applies; null is no.
"""

from collections.abc import Callable

import polars as pl

Rules = dict[str, pl.Expr]
Window = Callable[[int], Rules]

PROMPT, KEPT, CHOSEN, REJECTED, SHARED = (
    pl.col(name) for name in ("prompt_tokens", "kept_prompt_tokens", "chosen_tokens", "rejected_tokens", "shared_tokens")
)


def unlimited(length: int) -> Rules:
    """No window."""
    return {}


def drops_prompt(length: int) -> Rules:
    """TRL's DPO, truncation_mode keep_start: rows whose prompt fills the window are dropped, the rest is cut at the end."""
    dropped = length <= KEPT
    return {"prompt_over_window": dropped, **_cut_end(length, ~dropped)}


def drops_prompt_of_each(length: int) -> Rules:
    """TRL's KTO: as `drops_prompt`, but every answer is a row of its own, so that two equal ones are no harm by themselves."""
    rules = drops_prompt(length)
    return {name: rules[name] for name in ("prompt_over_window", "chosen_truncated", "rejected_truncated")}


def drops_prompt_and_marks_end(length: int) -> Rules:
    """OpenRLHF's DPO: prompts that leave fewer than three tokens are dropped; the last token after a cut becomes the end token."""
    dropped = length - 2 <= PROMPT
    return {"prompt_over_window": dropped, **_cut_end(length, ~dropped, marked=1)}


def drops_either(length: int) -> Rules:
    """TRL's reward trainer, axolotl, NeMo RL: a pair with a side longer than the window is dropped (NeMo RL: masked out)."""
    prompt = (length <= KEPT).fill_null(False)
    return {"prompt_over_window": prompt, "pair_over_window": ((length < CHOSEN) | (length < REJECTED)) & ~prompt}


def prompts_only(length: int) -> Rules:
    """Verl's policy trainers: a prompt longer than the window is filtered."""
    return {"prompt_over_window": length < PROMPT}


def cuts_start(length: int) -> Rules:
    """Verl's reward model: the first tokens are kept, whatever they are."""
    full = length <= PROMPT
    return {"answers_cut_away": full, **_cut_end(length, ~full)}


def cuts_both(length: int) -> Rules:
    """LLaMA-Factory: prompt and longer answer share the window; where both are long, in proportion. Each loses its end.

    Source: `infer_seqlen` in src/llamafactory/data/processor/processor_utils.py.
    """
    chosen, rejected = CHOSEN - PROMPT, REJECTED - PROMPT
    target = pl.max_horizontal(chosen, rejected)
    room = (
        pl.when(target * 2 < length)
        .then(pl.lit(length))
        .when(length > PROMPT * 2)
        .then(length - PROMPT)
        .otherwise((length * target / (PROMPT + target)).floor().cast(pl.Int64))
    )
    answer = pl.min_horizontal(room, target)
    cut = pl.min_horizontal(chosen, answer), pl.min_horizontal(rejected, answer)
    return {
        "prompt_truncated": (length - answer).clip(0) < PROMPT,
        "chosen_truncated": answer < chosen,
        "rejected_truncated": answer < rejected,
        "identical_after_truncation": (cut[0] == cut[1]) & (cut[0] <= SHARED - PROMPT) & (answer < target),
    }


def _cut_end(length: int, kept: pl.Expr, marked: int = 0) -> Rules:
    """Sequences of rows that are kept lose their end; `marked` tokens at the cut become the same on both sides."""
    cut = CHOSEN.clip(upper_bound=length), REJECTED.clip(upper_bound=length)
    long = (length < CHOSEN) | (length < REJECTED)
    return {
        "chosen_truncated": kept & (length < CHOSEN),
        "rejected_truncated": kept & (length < REJECTED),
        "identical_after_truncation": kept & long & (cut[0] == cut[1]) & (cut[0] - marked <= SHARED),
    }
