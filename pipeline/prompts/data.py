"""Data as text for a model: conversations with their roles, and nothing in them that would not be taken for text."""

from typing import Final

import polars as pl

# Breaks what a server's tokenizer would read as the end of a turn, and shows nothing. `read_json` takes it out again.
BREAK: Final = "\u2060"
# Tags (U+E0000 and up) are letters that nobody sees.
_CONTROLS: Final = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{9F}\x{FFF9}-\x{FFFB}\x{E0000}-\x{E007F}]"
_ANGLED: Final = r"<(\||\x{FF5C}|/?s>|/?think>|/?tool_call>|(?:start|end)_of_turn>|(?:bos|eos|pad|unk)>|</?SYS>>)"
_SQUARE: Final = r"\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"


def shown(text: pl.Expr) -> pl.Expr:
    """A text as a model gets to see it.

    Control characters (but for line ends and tabs), among them tag characters that nobody sees, become U+FFFD. Spellings
    that tokenizers of chat models take for the end or start of a turn (`<|im_end|>`, `</s>`, `[INST]` ...) get an unseen
    U+2060 after their first character, so that they are letters like others. Doing it twice changes nothing more.
    """
    lines = text.str.replace_all(r"\r\n?", "\n").str.replace_all(_CONTROLS, "\ufffd")
    return lines.str.replace_all(_ANGLED, f"<{BREAK}$1").str.replace_all(_SQUARE, f"[{BREAK}$1")


def conversation_text(messages: str) -> pl.Expr:
    """A column of messages as text: a line `[role]` (with the name, if any) above each; "" for none.

    Tool calls follow the content as JSON under `[tool calls]`. What a model reasoned unseen is not shown.
    """
    said = pl.element().struct
    name = pl.concat_str(pl.lit(" "), said.field("name")).fill_null("")
    calls = pl.concat_str(pl.lit("\n[tool calls]\n"), said.field("tool_calls")).fill_null("")
    told = pl.concat_str(pl.lit("["), said.field("role"), name, pl.lit("]\n"), said.field("content").fill_null(""), calls)
    return pl.col(messages).list.eval(told).list.join("\n\n").fill_null("")


def answer_text(messages: str) -> pl.Expr:
    """A column of responses as text: the content alone where it is one message without tool calls, else as `conversation_text`."""
    first = pl.col(messages).list.first().struct
    plain = (pl.col(messages).list.len() == 1) & first.field("tool_calls").is_null()
    return pl.when(plain).then(first.field("content").fill_null("")).otherwise(conversation_text(messages))
