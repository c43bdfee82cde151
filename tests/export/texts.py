"""Pairs of texts around a window of 60 tokens, for the tokenizers of tests.ches.tokenizers, and what lint says of them."""

from typing import Any

import polars as pl

from pipeline.embed import BareTokenizer
from pipeline.export.lint import PROFILES, Rendering, check
from pipeline.schemas import PAIR
from tests.builders import message
from tests.export.rows import pair, table

WINDOW = 60
LONG, LONGER = "the quick brown fox jumps over the lazy dog. " * 3, "Why is the sky blue? " * 9
SHARED = "Rayleigh scattering, I think. " * 8
TEXTS: dict[str, dict[str, Any]] = {
    "01": {},
    "02": {"chosen": LONG},
    "03": {"chosen": "thank you", "rejected": LONGER},
    "04": {"prompt": LONGER * 3},
    "05": {"chosen": SHARED + "Yes.", "rejected": SHARED + "No."},
    "06": {"prompt": [message("system", "Be brief."), message("user", "Why is the sky blue?")], "chosen": LONG},
    "07": {"prompt": LONG, "chosen": "a small boat", "rejected": "a small storm"},
    "08": {"chosen": "then the storm came", "rejected": "then the storm came " * 20},
    "09": {"prompt": "fox jumps over the lazy dog " * 8, "chosen": SHARED, "rejected": LONG},
}


def around_the_window() -> pl.DataFrame:
    return table(PAIR, *(pair(name, margin=1.0, p_soft=1.0, **texts) for name, texts in TEXTS.items()))


def flagged(pairs: pl.DataFrame, form: str, tokenizer: Any, window: int = WINDOW) -> dict[str, set[str]]:
    """Reason -> pairs, as lint tells."""
    profile = PROFILES[form]
    chat = tokenizer if profile.renders != "text" else None
    end = tokenizer.eos_token if profile.ends_with_eos or profile.renders == "text" else ""
    flags, _ = check(pairs, profile, Rendering(chat, end, strips=profile.strips), BareTokenizer(tokenizer), window)
    return {name: set(flags.filter(pl.col(name))["pair_id"]) for name in flags.columns if name != "pair_id"}
