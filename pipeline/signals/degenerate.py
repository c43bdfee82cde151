"""Answers that no judge should be able to like: empty, contentless, injected, repetitive, copied, cut, leaked.

Every check is mechanical; none needs a model. They flag and never drop: rules decide.
"""

import polars as pl

from pipeline.signals import SIDES
from pipeline.texts import WORD, is_blank, last_user_turn, text_of

MIN_TRIGRAMS, MAX_REPETITIVE_UNIQUENESS = 50, 0.3
MIN_COPIED_PROMPT_WORDS, MIN_COPIED_SHARE = 8, 0.8
MIN_CONTENT_WORDS = 3
MIN_START_TOKENS, START_TOKENS, MAX_GARBLED_SHARE = 31, 40, 0.5
_START_CHARACTERS = 2000  # in which the first tokens of prose lie
MAX_INSTRUCTION_CHARS = 300  # longer prompts carry material and examples, where the words that ask for more are not the user's wish

# One Token to Fool LLM-as-a-Judge (2025): answers without content that judges accept, with close relatives.
OPENERS = [
    "thought process", "thinking process", "solution", "解", "かいせつ", "respuesta",
    "let's solve this problem step by step", "let's solve this step by step", "let's think step by step",
    "let me think step by step", "let me think about this step by step", "here is the solution", "here is the answer", "here is my answer",
]  # fmt: skip

# White space, Markdown marks and the HTML tags that only format.
_MARKUP = r"(?i)</?(?:p|br|b|i|u|em|strong|div|span)\s*/?>|[\s\p{Z}\p{Cf}*_`#>~]+"

# The prompt asks for more than a word or two: an instruction at the start of a sentence, or a wish for a text or several items.
_ASKS_FOR_MORE = (
    r"(?im)(?:^|[.!?:;,¿¡。！？：]\s*)"  # noqa: RUF001
    r"(?:(?:please|kindly|can you|could you|would you|por favor,?|s'il vous plaît,?|bitte|puedes|请)\s*)?"
    r"(?:explain|describe|discuss|compare|contrast|summari[sz]e|outline|elaborate|why\b|how (?:to|does|do i|do we|can i|can we|should i)\b"
    r"|explica|describe|compara|resume|por qué|cómo (?:puedo|se|funciona|hago|hacer)"
    r"|expliquez?|décri[st]|décrivez|compare[zr]?|résume[zr]?|pourquoi|comment (?:puis|faire|fonctionne)"
    r"|erkläre?|beschreibe?|vergleiche?|warum|wie (?:funktioniert|kann ich)"
    r"|解释|说明|描述|比较|总结|为什么|如何|怎么|説明|比較|要約|なぜ"
    r"|(?:write|compose|draft|create|escribe|redacta|écri[st]|écrivez|schreibe?)\s(?:\S+\s){0,5}?"
    r"(?:story|essay|poem|haiku|limerick|song|speech|letter|e-?mail|article|report|review|paragraph|post|summary|description|dialogue|recipe|plan|guide"
    r"|script|function|program|cuento|historia|poema|carta|correo|ensayo|texto|párrafo|histoire|poème|lettre|geschichte|gedicht|brief|aufsatz)\b"
    r"|(?:list|give me|give|name|suggest|provide|enumera|da(?:me)?|liste|nenne)\s(?:\S+\s){0,2}?"
    r"(?:three|four|five|six|seven|eight|nine|ten|[3-9]|\d\d+|several|some (?:ideas|tips|examples|reasons|ways)|examples|reasons"
    r"|steps|ways|tips|ideas|tres|cuatro|cinco|varios|varias|trois|quatre|cinq|plusieurs|drei|vier|fünf)\b)"
)
# ... unless it says that little is enough, or asks for a word, a name, a symbol, a command or a translation.
_TRANSLATION = (
    r"(?i)\btranslat|\btraduc|\btraduis|\btradui[rt]|\bübersetz|翻译|翻訳"
    r"|\b(?:spanish|japanese|chinese|french|german|english) (?:word|term|for)\b"
    r"|how (?:do|would|to) (?:you |i |we )?(?:say|spell|pronounce|write|translate)|cómo se (?:dice|escribe)|comment dit-on|wie sagt man"
)
_LITTLE_IS_ENOUGH = (
    _TRANSLATION + r"|\b(?:one|two|single|1|2|una?|dos|un|deux|ein(?:em)?|zwei)[ -]"
    r"(?:words?|palabras?|mots?|wort|wörter|numbers?|letters?|characters?|digits?)\b"
    r"|\b(?:yes or no|true or false|sí o no|verdadero o falso|oui ou non|ja oder nein|是或否|multiple[ -]choice)\b"
    r"|\b(?:classify|label|sentiment|fill in)\b"
    r"|\b(?:answer|reply|respond|return|output|print|give|responde|réponds|antworte)\b[^.\n]{0,40}\b(?:only|just|solo|sólo|seulement|nur)\b"
    r"|\b(?:only|just) (?:the|a|an|give|answer|reply|respond|output|return)\b"
    r"|\b(?:command|shortcut|function names?|keyword|syntax|symbol|operator|abbreviation|acronym|synonym|antonym|opposite)\b"
)

# Cheating Automatic LLM Benchmarks (2024): an answer that closes the judge's template and opens sections of its own.
_INJECTED = (
    r"(?im)^\s*#+ *model outputs?\b|\bmodel_identifier\b|\[/?(?:instructions?|user question)\]"
    r"|\[(?:(?:the )?(?:start|end) of (?:the )?assistant)"
    r"|(?:\"{3}|'{3})[\s,}\]{]*\"\w+\"\s*:"
    r"|(?:^|[.!?:;\"\]]\s*)(?:please |now |and )?(?:ignore|disregard) (?:all |any )?(?:of )?(?:the |your )?above\b"
    r"|\b(?:ignore|disregard) (?:all |any )?(?:of )?(?:the |your )?(?:above|previous|prior|preceding) "
    r"(?:instruction|prompt|direction|evaluation|text|answer|output)"
)

# Chat-template tokens anywhere; speaker names with a colon at the start of a line, or after the end of a sentence or a
# lower-case word ("... the text. Human: next"). "Note to the user: ..." is prose: a marker has a capital letter.
_ROLE_MARKER = (
    r"(?m)<\|(?:im_start|im_end|im_sep|user|assistant|system|endoftext|eot_id|start_header_id|end_header_id|begin_of_text)\|>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|#{2,3} ?Instruction:?\s*$|#{2,3} ?(?:Instruction|Response|Input|Human|User|Assistant|System) ?:"
    r"|^[ \t>*]*(?:Human|Assistant|User|System|HUMAN|ASSISTANT|USER|SYSTEM|human|assistant|user)\*{0,2} ?:"
    r"|(?:[.!?\"'”)\]…]|\b\p{Ll}+)\s+(?:Human|Assistant): "
    r"|[.!?\"'”)\]…]\s+User: "
)

# A start that was searched for, not written: symbols run into words. Code, formulas, tags, tables and addresses are no such start, and
# where words have no spaces between them a token tells nothing.
_NO_PROSE = (
    r"(?sm)```.*?(?:```|\z)|`[^`\n]*`|\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)|\$[^$\s](?:[^$\n]{0,80}[^$\s])?\$"
    r"|</?\w[^<>\n]*>|^[ \t]*\|[^\n]*|https?://\S+"
)
_WORDLIKE = (
    r"^[\p{P}\p{S}]*(?:[\p{L}\p{M}\p{N}]+(?:['’./:&,;@\x{2013}\x{2014}-]+[\p{L}\p{M}\p{N}]+)*)?[\p{P}\p{S}]*$"  # noqa: RUF001
    r"|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)


def add_degenerate(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add every flag and share of degenerate answers that looks at one pair alone; `pipeline.signals.repeats` adds the rest.

    Columns, each for `chosen` and `rejected` (methods: master keys, null and injected responses, mechanical degeneracy):
    `*_empty` (no visible character, no tool call), `*_degenerate`, `*_injected`, `*_trigram_uniqueness` (0 to 1),
    `*_repetitive`, `*_copies_prompt`, `*_truncated_tail`, `*_role_marker`, `*_garbled_start`, `*_unreadable_share` (0 to 1),
    and `identical_answers`, which is about both. `*_trigram_uniqueness` is null where there is no trigram. `*_degenerate` is One
    Token to Fool LLM-as-a-Judge (2025), `*_injected` and `*_garbled_start` are Cheating Automatic LLM Benchmarks (2024),
    `*_truncated_tail` is the cleaning step of A-LoL (2023).

    Args:
        pairs: PAIR rows, of any order.
    """
    work = pairs.select(
        _row=pl.int_range(pl.len(), dtype=pl.UInt32),
        prompt=last_user_turn("prompt"),
        **{side: text_of(side) for side in SIDES},
        **{f"{side}_calls": _tool_calls(side) for side in SIDES},
    )
    flags = work.select(expr.alias(f"{side}_{name}") for side in SIDES for name, expr in _flags(side).items())
    same = pl.col("chosen").str.strip_chars() == pl.col("rejected").str.strip_chars()
    identical = work.select(identical_answers=same & (pl.col("chosen_calls") == pl.col("rejected_calls")))
    return pl.concat([pairs, identical, flags, *(_trigram_signals(work, side) for side in SIDES)], how="horizontal")


def _tool_calls(side: str) -> pl.Expr:
    calls = pl.col(side).list.eval(pl.element().struct.field("tool_calls").fill_null(""))
    return calls.list.join("\n").fill_null("").str.strip_chars("\n")


def _flags(side: str) -> dict[str, pl.Expr]:
    text = pl.col(side)
    calls = pl.col(f"{side}_calls") != ""
    unreadable = text.str.count_matches(r"[\x{FFFD}\p{Co}[\p{Cc}--[\n\r\t]]]")
    return {
        "empty": is_blank(text) & ~calls,
        "degenerate": _is_degenerate(text) & ~calls,
        "injected": text.str.contains(_INJECTED),
        "truncated_tail": text.str.contains(r"[:：][\s*_]*$"),  # noqa: RUF001
        "role_marker": text.str.contains(_ROLE_MARKER),
        "garbled_start": _is_garbled(text),
        "unreadable_share": pl.when(text == "").then(0.0).otherwise(unreadable / text.str.len_chars()),
    }


def _is_degenerate(text: pl.Expr) -> pl.Expr:
    plain = text.str.replace_all(_MARKUP, " ").str.normalize("NFKC").str.to_lowercase()
    plain = plain.str.replace_all(r"\s+", " ").str.replace_all("’", "'", literal=True).str.strip_chars()  # noqa: RUF001
    only_punctuation = ~plain.str.contains(r"[^\p{P}\s]") | is_blank(plain)
    opener = plain.str.replace(r"[\s\p{P}]+$", "").is_in(OPENERS) & ~pl.col("prompt").str.contains(_TRANSLATION)
    asked = pl.col("prompt")
    little_is_enough = asked.str.contains(_LITTLE_IS_ENOUGH) | (asked.str.len_chars() > MAX_INSTRUCTION_CHARS)
    asks_for_more = asked.str.contains(_ASKS_FOR_MORE) & ~little_is_enough
    # Code says much in one token (`:q!`, `git stash`), so an answer in backticks is never too short.
    too_short = (plain.str.count_matches(WORD) < MIN_CONTENT_WORDS) & ~text.str.contains("`", literal=True)
    return only_punctuation | opener | (too_short & asks_for_more)


def _is_garbled(text: pl.Expr) -> pl.Expr:
    tokens = text.str.slice(0, _START_CHARACTERS).str.replace_all(_NO_PROSE, " ").str.extract_all(r"\S+").list.head(START_TOKENS)
    words = tokens.list.eval(pl.element().str.contains(_WORDLIKE)).list.sum()
    count = tokens.list.len()
    return (count >= MIN_START_TOKENS) & (words < count * (1 - MAX_GARBLED_SHARE))


def _trigrams(texts: pl.DataFrame, text: str) -> pl.DataFrame:
    """(_row, gram, times): word trigrams of each text, distinct, with how often each occurs."""
    words = texts.select("_row", word=pl.col(text).str.to_lowercase().str.extract_all(WORD)).explode("word", empty_as_null=False)
    gram = pl.concat_str(pl.col("word"), pl.col("word").shift(-1), pl.col("word").shift(-2), separator=" ")
    same_text = pl.col("_row") == pl.col("_row").shift(-2)
    return words.select("_row", gram=gram, inside=same_text).filter("inside").group_by("_row", "gram").agg(times=pl.len())


def _trigram_signals(work: pl.DataFrame, side: str) -> pl.DataFrame:
    grams = _trigrams(work, side)
    counts = grams.group_by("_row").agg(distinct=pl.len(), total=pl.col("times").sum())
    asked = _trigrams(work.filter(pl.col("prompt").str.count_matches(WORD) >= MIN_COPIED_PROMPT_WORDS), "prompt")
    held = asked.join(grams, on=["_row", "gram"], how="left", coalesce=True)
    copied = held.group_by("_row").agg(share=pl.col("times_right").is_not_null().mean())
    uniqueness = pl.col("distinct") / pl.col("total")  # null: two words have no trigram, and neither 0 nor 1 would be true of them
    return (
        work.select("_row")
        .join(counts, on="_row", how="left", maintain_order="left")
        .join(copied, on="_row", how="left", maintain_order="left")
        .select(
            uniqueness.alias(f"{side}_trigram_uniqueness"),
            ((pl.col("total") >= MIN_TRIGRAMS) & (uniqueness < MAX_REPETITIVE_UNIQUENESS)).fill_null(False).alias(f"{side}_repetitive"),
            (pl.col("share") >= MIN_COPIED_SHARE).fill_null(False).alias(f"{side}_copies_prompt"),
        )
    )
