"""What a story holds."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trial:
    """One rule on one pair.

    Attributes:
        rule: its name.
        condition: what it drops, as SQL or in words.
        outcome: applies, does not apply, not tried (the pair had left), or cannot be told.
        values: the columns that it looks at, as the version holds them.
        detail: what else there is to say, such as where a rule that compares all pairs cut.
    """

    rule: str
    condition: str
    outcome: str
    values: dict[str, Any] = field(default_factory=dict)
    detail: str | None = None


@dataclass(frozen=True)
class Fate:
    """What became of one record or pair in one version; `fate` is absent where the version does not know it."""

    version: str
    current: bool
    kind: str  # pair, record, or version where that cannot be read
    id: str
    fate: str
    told: str  # part or stage, reason, votes: one line


@dataclass(frozen=True)
class Story:
    """All that a version knows about one record, pair or response; rows as dictionaries, in the schemas' words."""

    asked: str
    version: str
    ledger: list[dict[str, Any]]
    judgements: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    pairs: list[dict[str, Any]]  # PAIR or DROPPED rows plus `fate`: published or dropped
    quarantined: list[dict[str, Any]]
    annotators: list[dict[str, Any]]  # those whose judgements these are, as the vote model sees them
    rationales: list[dict[str, Any]]  # of the pairs, accepted or not
    rules: dict[str, list[Trial]] = field(default_factory=dict)  # by pair, in the order they were tried
    fates: list[Fate] = field(default_factory=list)  # in every version, oldest first
    left_out: int = 0  # pairs of a response or prompt beyond those told
