"""Pairs as LLaMA-Factory reads them: ShareGPT conversations with `chosen` and `rejected`, system and tools beside, and dataset_info.json.

Loader: hiyouga/LLaMA-Factory, src/llamafactory/data/converter.py (SharegptDatasetConverter), options in src/llamafactory/data/parser.py. It
wants human (or observation) and gpt (or function_call) to take turns, an odd number of turns before the answers, and one turn as answer;
other rows it skips with a warning. Of a turn that calls tools it reads the calls alone. `llama-factory-kto` has the answer as the last
turn and `kto_tag`; it says no tools.
"""

from collections.abc import Callable
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Content, Facts, Format, Options
from pipeline.export.frameworks.files import HELD_OUT, held_out, json_text, paths, stem, yaml_text
from pipeline.export.frameworks.turns import leading_system, named_calls, tool_list, turn_type, without_system
from pipeline.export.messages import SIDES, mangled
from pipeline.export.sides import repeated
from pipeline.export.unpaired import READS as KTO_READS
from pipeline.export.unpaired import balance, classes, from_pairs
from pipeline.selection.repeat import repetitions
from pipeline.stage import StageResult, split_by_reason

READS: Final = (*SIDES, "tools", "pair_id", "weight")
SAYS: Final[frozenset[Content]] = frozenset({"tools", "tool_calls"})
ROLES: Final = {"user": "human", "assistant": "gpt", "tool": "observation", "call": "function_call"}
KTO_WEIGHTS: Final = ("kto_chosen_weight", "kto_rejected_weight")  # of its finetuning arguments
_TURN: Final = turn_type("from", "value")
_BESIDE: Final = [pa.field("system", pa.string(), nullable=False), pa.field("tools", pa.string(), nullable=False)]
SCHEMA: Final = pa.schema(
    [
        pa.field("conversations", pa.list_(_TURN), nullable=False),
        pa.field("chosen", _TURN, nullable=False),
        pa.field("rejected", _TURN, nullable=False),
        *_BESIDE,
    ]
)
KTO_SCHEMA: Final = pa.schema(
    [pa.field("conversations", pa.list_(_TURN), nullable=False), pa.field("kto_tag", pa.bool_(), nullable=False), *_BESIDE]
)


def llama_factory(options: Options) -> Format:
    """Preference pairs for stages dpo and rm; see the module."""
    return Format(
        READS, SCHEMA, lambda pairs: to_llama_factory(pairs, options), takes={"weights"}, represents=SAYS, file="jsonl",
        beside_files=_info(True),
    )  # fmt: skip


def llama_factory_kto(options: Options) -> Format:
    """Answers with a verdict each, for stage kto; see the module."""
    return Format(
        KTO_READS, KTO_SCHEMA, to_llama_factory_kto, file="jsonl", whole_prompts=True, beside_files=_info(False),
        tally=lambda rows: classes(rows.rename({"kto_tag": "label"})), advice=lambda counts: balance(counts, KTO_WEIGHTS),
    )  # fmt: skip


def to_llama_factory(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in LLaMA-Factory's preference format.

    Args:
        pairs: with the columns READS, in any order.
        options: weights.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, and `dropped` with the first reason that applies: those of
        `pipeline.export.messages.mangled`, `roles_do_not_alternate`, `text_beside_call` (a turn that calls tools also says something),
        `unreadable_call`, `weight_rounds_to_0`.
    """
    done = _laid_out(pairs)
    rows, lost = done.kept, [done.dropped]
    if options.weights == "repeat":
        counted = rows.with_columns(_copies=repetitions(rows["weight"], rows["pair_id"]))
        some = split_by_reason(counted, {"weight_rounds_to_0": pl.col("_copies") == 0})
        rows = repeated(some.kept, some.kept["_copies"])
        lost.append(some.dropped.select(done.dropped.columns))
    kept = rows.select("conversations", *(pl.col(f"_{side}").list.first().alias(side) for side in SIDES[1:]), "system", tools="_tools")
    return StageResult(kept, pl.concat(lost))


def to_llama_factory_kto(pairs: pl.DataFrame) -> StageResult:
    """Answers in LLaMA-Factory's KTO format.

    Args:
        pairs: with the columns KTO_READS, in any order; all pairs of a prompt.

    Returns:
        `kept`, of KTO_SCHEMA, and `dropped`, as `pipeline.export.unpaired.from_pairs` gives them, and `roles_do_not_alternate`.
    """
    said = split_by_reason(pairs, {"roles_do_not_alternate": (pl.col("prompt").list.len() > 0) & ~_alternate()})
    done = from_pairs(said.kept)
    names = {role: name for role, name in ROLES.items() if role != "call"}
    turn = pl.element().struct
    named = pl.struct(turn.field("role").replace_strict(names, default=None).alias("from"), turn.field("content").alias("value"))
    whole = pl.concat_list(without_system("prompt"), "completion").list.eval(named)
    kept = done.kept.select(conversations=whole, kto_tag="label", system=leading_system("prompt"), tools=pl.lit(""))
    return StageResult(kept, pl.concat([said.dropped, done.dropped]))


def _alternate() -> pl.Expr:
    """Positions 0, 2, 4 ... are the user's or a tool's, 1, 3, 5 ... the assistant's; anything else (a later system turn) is neither."""
    turns = without_system("prompt").list.eval(pl.element().struct.field("role"))
    place = turns.list.eval((pl.int_range(pl.len()) % 2).cast(pl.Int32))
    theirs = turns.list.eval(pl.when(pl.element().is_in(["user", "tool"])).then(0).when(pl.element() == "assistant").then(1).otherwise(2))
    return (theirs == place) & (turns.list.len() % 2 == 1)


def _laid_out(pairs: pl.DataFrame) -> StageResult:
    """Pairs with `conversations`, `_chosen`, `_rejected` (lists of turns), `system` and `_tools`, and what cannot be laid out."""
    said = pl.element().struct
    calling = said.field("tool_calls").is_not_null()
    silent = calling & (said.field("content").fill_null("") != "")
    done = split_by_reason(
        pairs,
        {
            **mangled(SAYS),
            "roles_do_not_alternate": ~_alternate(),
            "text_beside_call": pl.any_horizontal(pl.col(side).list.eval(silent).list.any() for side in SIDES),
        },
    )
    ready, unreadable = _with_calls(done.kept)
    last = split_by_reason(ready.with_columns(unreadable.alias("_unreadable")), {"unreadable_call": pl.col("_unreadable")})
    laid = last.kept.with_columns(system=leading_system("prompt"), _tools=tool_list(last.kept["tools"]))
    return StageResult(laid, pl.concat([done.dropped, last.dropped.select(*pairs.columns, "reason")]))


def _with_calls(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The turns under LLaMA-Factory's names, calls of tools as it writes them; and pairs with a call that cannot be read."""
    names = {"prompt": "conversations", **{side: f"_{side}" for side in SIDES[1:]}}
    turns = {"prompt": without_system("prompt"), **{side: pl.col(side) for side in SIDES[1:]}}
    made, bad = pairs, pl.Series("bad", [False], dtype=pl.Boolean).new_from_index(0, pairs.height)
    for side, name in names.items():
        flat = pairs.select(pl.int_range(pl.len()).alias("_row"), _turn=turns[side]).explode("_turn", empty_as_null=False).unnest("_turn")
        calls, unreadable = named_calls(flat["tool_calls"])
        told = flat.select("_row", "role", "content", _calls=calls, _bad=unreadable)
        role = pl.when(pl.col("_calls").is_not_null()).then(pl.lit("call")).otherwise("role")
        turn = pl.struct(
            role.replace_strict(ROLES, default=None).alias("from"), pl.coalesce("_calls", pl.col("content").fill_null("")).alias("value")
        )
        lists = told.group_by("_row", maintain_order=True).agg(turn.alias(name), pl.col("_bad").any())
        joined = pl.DataFrame({"_row": pl.int_range(pairs.height, eager=True)}).join(lists, on="_row", how="left", maintain_order="left")
        made = made.with_columns(joined[name])
        bad = bad | joined["_bad"].fill_null(False)
    return made, bad


def _info(ranking: bool) -> Callable[[Facts], dict[str, bytes]]:
    """`dataset_info.json`, one entry a file, and the lines of a configuration that name them."""

    def told(facts: Facts) -> dict[str, bytes]:
        columns = {"messages": "conversations", "system": "system", "tools": "tools"}
        columns |= {side: side for side in SIDES[1:]} if ranking else {"kto_tag": "kto_tag"}
        tags = {"role_tag": "from", "content_tag": "value", "user_tag": ROLES["user"], "assistant_tag": ROLES["assistant"]}
        tags |= {"observation_tag": ROLES["tool"], "function_tag": ROLES["call"], "system_tag": "system"}
        entry = {"formatting": "sharegpt", "ranking": ranking, "columns": columns, "tags": tags}
        own = stem(facts.dataset)
        files = {split: paths(facts, split) for split in ("train", *HELD_OUT)}
        info = {f"{own}_{stem(path)}": {"file_name": path, **entry} for of_split in files.values() for path in of_split}

        def names(split: str) -> str:
            return ",".join(f"{own}_{stem(path)}" for path in files.get(split, []))

        keys = {"stage": "dpo" if ranking else "kto", "dataset_dir": ".", "dataset": names("train"), "eval_dataset": names(held_out(facts))}
        lines = yaml_text(facts, "Run in this folder.", {key: value for key, value in keys.items() if value})
        return {"dataset_info.json": json_text(info), "llama_factory.yaml": lines}

    return told
