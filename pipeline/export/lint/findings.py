"""What a lint found: per reason, how many rows, which, and what becomes of them."""

from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from pipeline.export.reasons import LEFT_OUT

Effect = Literal["left_out", "dropped", "truncated", "mangled", "ignored", "note"]
EXAMPLES: Final = 5

# Reason -> what becomes of the row, and what the reason means.
REASONS: Final[dict[str, tuple[Effect, str]]] = {
    "prompt_over_window": ("dropped", "the prompt leaves no room for an answer"),
    "pair_over_window": ("dropped", "a side is longer than the window"),
    "template_refused": ("dropped", "the chat template fails on the conversation; training stops there or skips it"),
    "chosen_truncated": ("truncated", "the chosen answer loses its end, and the end of its turn"),
    "rejected_truncated": ("truncated", "the rejected answer loses its end, and the end of its turn"),
    "prompt_truncated": ("truncated", "the prompt loses its end: the question"),
    "identical_after_truncation": ("mangled", "what is left of both answers is one text: it teaches nothing"),
    "answers_cut_away": ("mangled", "the prompt fills the window: both sides are one text"),
    "prompt_end_lost": ("mangled", "the template writes the prompt otherwise once there is an answer; answers begin at the wrong place"),
    "system_turn_unsupported": ("mangled", "the chat template refuses the system's turn or leaves it out"),
    "turn_lost": ("mangled", "the chat template leaves out what a turn says"),
    "tools_lost": ("mangled", "the chat template leaves the tools out"),
    "answer_cut_wrongly": ("mangled", "the loader looks for the answer's text and finds it elsewhere, or not at all"),
    "weight_ignored": ("ignored", "the weight is not 1, and the trainer has no weights; `--weights repeat` where the format takes it"),
    "margin_ignored": ("ignored", "the votes were not unanimous and strong, and the trainer reads no margin"),
    "soft_label_ignored": ("ignored", "the label is right with a probability below 0.9, and the trainer takes it for certain"),
    "roles_do_not_alternate": ("note", "two turns of one speaker follow each other; some templates refuse that, this one does not"),
}
AFFECTED: Final[tuple[Effect, ...]] = ("dropped", "truncated", "mangled")


@dataclass(frozen=True)
class Finding:
    """One reason.

    Attributes:
        reason: short.
        effect: what becomes of the rows.
        rows: how many.
        share: of all pairs looked at.
        examples: ids of the first pairs.
        says: the reason in words.
    """

    reason: str
    effect: Effect
    rows: int
    share: float
    examples: list[str]
    says: str


@dataclass
class Tally:
    """Findings of part after part.

    Attributes:
        pairs: looked at.
        affected: dropped, truncated or mangled for at least one reason.
        longest: tokens of the longest conversation counted.
    """

    pairs: int = 0
    affected: int = 0
    longest: int = 0
    _rows: dict[tuple[Effect, str], int] = field(default_factory=dict)
    _examples: dict[tuple[Effect, str], list[str]] = field(default_factory=dict)

    def add(self, flags: pl.DataFrame, longest: int = 0) -> None:
        """Count a part.

        Args:
            flags: `pair_id`, and one Boolean column a reason of REASONS.
            longest: tokens of its longest conversation.
        """
        self.pairs += flags.height
        self.longest = max(self.longest, longest)
        names = [name for name in flags.columns if name != "pair_id"]
        bad = [name for name in names if REASONS[name][0] in AFFECTED]
        self.affected += int(flags.select(pl.any_horizontal(bad).sum()).item() or 0) if bad else 0
        for name in names:
            self._note(REASONS[name][0], name, flags.filter(pl.col(name))["pair_id"])

    def add_left_out(self, dropped: pl.DataFrame) -> None:
        """Count pairs that the export does not write: `pair_id`, `reason`."""
        self.pairs += dropped.height
        for (reason,), rows in dropped.group_by("reason", maintain_order=True):
            self._note("left_out", str(reason), rows["pair_id"])

    def findings(self) -> list[Finding]:
        """All that was found, the gravest effect first, then by rows."""
        order: list[Effect] = ["dropped", "mangled", "truncated", "left_out", "ignored", "note"]
        made = [
            Finding(
                reason, effect, rows, rows / max(1, self.pairs), self._examples[effect, reason],
                f"{LEFT_OUT[reason]}: the export does not write it" if effect == "left_out" else REASONS[reason][1],
            )
            for (effect, reason), rows in self._rows.items()
        ]  # fmt: skip
        return sorted(made, key=lambda one: (order.index(one.effect), -one.rows, one.reason))

    def _note(self, effect: Effect, reason: str, ids: pl.Series) -> None:
        if not ids.len():
            return
        self._rows[effect, reason] = self._rows.get((effect, reason), 0) + ids.len()
        told = self._examples.setdefault((effect, reason), [])
        told += ids.head(EXAMPLES - len(told)).to_list()
