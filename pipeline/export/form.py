"""What a format is: what it reads and gives, what it can say, and what it may be asked for."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from pipeline.stage import StageResult

Content = Literal["tools", "tool_calls", "turns", "no_prompt", "ties"]
"""What a pair may hold and a format may be unable to say.

`tools`: definitions of tools. `tool_calls`: calls, and turns of the role tool. `turns`: an answer of several messages, or one that is not
an assistant's. `no_prompt`: no message before the answers. `ties`: pairs without a better answer.
"""


@dataclass(frozen=True)
class Options:
    """What a format may be asked for; `Format.takes` names those that it takes.

    Attributes:
        reference_logps: log-probabilities of both answers under the reference model.
        kinds: of rationales; those that the format takes by itself when empty.
        prompt: `explicit`: a column of its own; `implicit`: chosen and rejected are whole conversations.
        form: `messages`: lists of role and content; `text`: plain strings.
        template: model whose chat template writes texts.
        render: does so: (prompts, answers), messages each -> the prompts as text, and what answers add to them; null where it
            refuses. None: the content of a single user's turn and of one answer.
        weights: `none`; `column`: a column `weight`; `repeat`: rows as often as they weigh.
        ties: pairs without a better answer, too.
        tools: a column `tools` (JSON), and pairs that have some.
        thresholds: source or "" (all others) -> share of the scale (0 to 1) at and above which a rating is good; empty: pairs
            alone are read.
        drop_band: half of the band around the threshold whose ratings are left out, a share of the scale.
        system: a system prompt for a goal, with `{score}` in it.
        margin: column that a margin is taken from.
        policy: which answers of a list are taken.
        references: a column with the best answer.
    """

    reference_logps: bool = False
    kinds: tuple[str, ...] = ()
    prompt: Literal["explicit", "implicit"] = "explicit"
    form: Literal["messages", "text"] = "messages"
    template: str = ""
    render: Callable[[pl.Series, pl.Series], tuple[pl.Series, pl.Series]] | None = field(default=None, compare=False)
    weights: Literal["none", "column", "repeat"] = "none"
    ties: bool = False
    tools: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    drop_band: float = 0.0
    system: str = ""
    margin: str = ""
    policy: str = ""
    references: bool = False

    def given(self) -> dict[str, Any]:
        """Those that differ from what they are when nothing is said, by name; without `render`."""
        plain = Options()
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "render"}
        return {name: value for name, value in values.items() if value != getattr(plain, name)}


@dataclass(frozen=True)
class Facts:
    """What a finished export says of itself to `Format.beside_files`.

    Attributes:
        dataset: its name.
        version: e.g. v000001.
        form: the format's name.
        files: path (relative to the folder), split, rows, bytes, sha256; sorted by path.
        rows: by split.
        counts: sums of the format's own `tally`, by name.
    """

    dataset: str
    version: str
    form: str
    files: list[dict[str, Any]]
    rows: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """What a format needs and gives.

    Attributes:
        reads: columns of PAIR.
        schema: of the rows it gives.
        convert: pairs with those columns, in any order, and one table for each of `beside` -> `kept` of that schema, in the order of the
            pairs, and `dropped` pairs with `reason`.
        beside: other parts of a version and their columns; the rows of the pairs handed over, or of their prompts where the part has no
            pairs.
        kinds: of rationales that may be asked for.
        takes: names of Options that may be given, `kinds` aside.
        represents: of Content: what it can say beyond pairs of a prompt that ends with the user's turn and two answers of one message each.
        file: what it is written as; `jsonl`: one JSON object a line.
        whole_prompts: all pairs of a prompt within a part are handed over together.
        beside_files: further small files, name -> content, from what the finished export says of itself.
        tally: numbers of the rows given, by name; summed over the export, into its manifest.
        advice: sentences for the user, from the sums of `tally`.
        single_turns: it cannot say prompts of several messages either.
    """

    reads: tuple[str, ...]
    schema: pa.Schema
    convert: Callable[..., StageResult]
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    takes: AbstractSet[str] = frozenset()
    represents: AbstractSet[str] = frozenset()
    file: Literal["parquet", "jsonl"] = "parquet"
    whole_prompts: bool = False
    beside_files: Callable[[Facts], dict[str, bytes]] | None = None
    tally: Callable[[pl.DataFrame], dict[str, int]] | None = None
    advice: Callable[[dict[str, int]], list[str]] | None = None
    single_turns: bool = False
