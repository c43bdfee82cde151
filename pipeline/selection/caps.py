"""Caps: most pairs of a group. The best stay, and a pair of several groups needs room in all of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.config.selection import CapsConfig
from pipeline.selection.gumbel import best_first

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CAPPED = ("prompt_cluster", "source", "annotator")  # the first that is full is the reason
_ROUNDS = 64  # data took at most a dozen; a chain of pairs that each wait for the one before could take as many as it is long


def beyond_caps(rows: pl.DataFrame, config: CapsConfig, seed: int) -> pl.DataFrame:
    """The pairs for which a cap leaves no room.

    Args:
        rows: pair_id (sorted), cluster, sources, annotators (null: none that can be told), cap_score (null: after all others).
        config: most pairs of each cluster, source and annotator.
        seed: equal scores are ordered by a hash of pair_id and seed.

    Returns:
        pair_id, reason (the first group that is full), score, threshold (the lowest score that it keeps), detail; best first.
    """
    order = best_first(rows.get_column("pair_id"), seed, rows.get_column("cap_score").cast(pl.Float64).fill_null(np.nan).to_numpy())
    seats = _seats(rows, order, config)
    inside = admit(rows.height, seats.member, seats.group, seats.caps)
    full = ~inside[seats.member] & (before(inside[seats.member], seats.group) >= seats.caps[seats.group])
    first = np.zeros(rows.height, dtype=np.int64)
    # Of several groups that are full the first: what is written last stays.
    first[seats.member[full][::-1]] = seats.group[full][::-1]
    last = np.zeros(len(seats.caps), dtype=np.int64)
    kept = inside[seats.member]
    last[seats.group[kept]] = seats.member[kept]
    gone = np.flatnonzero(~inside)
    groups, scores = first[gone], rows.get_column("cap_score")
    table = seats.names[groups].with_columns(
        pair_id=rows.get_column("pair_id")[order[gone]], score=scores[order[gone]], threshold=scores[order[last[groups]]]
    )
    words = {name: name.replace("_", " ") for name in CAPPED}
    told = pl.format("{} pairs with {} as high are kept of {} {}", "cap", pl.lit(config.by), pl.col("kind").replace_strict(words), "name")
    return table.select("pair_id", pl.format("cap_{}", "kind").alias("reason"), "score", "threshold", detail=told)


@dataclass(frozen=True)
class _Seats:
    """Which ranked rows are in which groups, sorted by group, then row; `names`: kind, name, cap of each group."""

    member: Rows
    group: Rows
    caps: Rows
    names: pl.DataFrame


def _seats(rows: pl.DataFrame, order: Rows, config: CapsConfig) -> _Seats:
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    of = {"prompt_cluster": pl.col("cluster"), "source": pl.col("sources").list.unique(), "annotator": pl.col("annotators")}
    members, groups, names, total = list[Rows](), list[Rows](), list[pl.DataFrame](), 0
    for kind in CAPPED:
        limit = getattr(config, kind)
        if limit is None:
            continue
        table = rows.select(rank=pl.Series(rank), name=of[kind])
        if isinstance(table.schema["name"], pl.List):
            table = table.explode("name", empty_as_null=False)
        table = table.drop_nulls()
        known = table.get_column("name").unique().sort()
        members.append(table.get_column("rank").to_numpy())
        groups.append(table.get_column("name").cast(pl.Enum(known)).to_physical().cast(pl.Int64).to_numpy() + total)
        names.append(pl.DataFrame({"name": known}).select(kind=pl.lit(kind), name="name", cap=pl.lit(limit, pl.Int64)))
        total += len(known)
    member, group, about = np.concatenate(members), np.concatenate(groups), pl.concat(names)
    by_group = np.argsort(group * max(1, rows.height) + member)
    return _Seats(member[by_group], group[by_group], about.get_column("cap").to_numpy(), about)


def admit(rows: int, member: Rows, group: Rows, caps: Rows) -> Flags:
    """Go through ranked rows, best first, and admit each one whose groups all have room.

    Done for all rows at once, round after round: a row is in when, even if every undecided row before it came in, its groups had room;
    and out when one of them is full of rows that are in. The best undecided row is always decided.

    Args:
        rows: N rows, numbered by rank from 0, the best.
        member: (M,) a row that belongs to
        group: (M,) this group, numbered from 0; each combination once, sorted by group, then row.
        caps: (G,) most rows of each group.

    Returns:
        (N,) which rows are admitted. Equal to going through them one by one.
    """
    every = member, group
    inside, outside = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
    open_groups = np.bincount(group, minlength=len(caps)) > caps  # the others cannot get full
    for _ in range(_ROUNDS):
        counts = open_groups[group] & ~outside[member]
        member, group = member[counts], group[counts]
        limit, undecided = caps[group], ~(inside | outside)
        full = before(inside[member], group) >= limit
        crowded = before(np.ones(member.size, dtype=np.bool_), group) >= limit
        outside[member[full & undecided[member]]] = True
        waiting = np.zeros(rows, dtype=np.bool_)
        waiting[member[crowded]] = True
        inside |= undecided & ~outside & ~waiting
        undecided = ~(inside | outside)
        if not undecided.any():
            return inside
        open_groups = np.zeros(len(caps), dtype=np.bool_)
        open_groups[group[undecided[member]]] = True
    return _one_by_one(inside, outside, *every, caps)


def before(counted: Flags, group: Rows) -> Rows:
    """How many rows before each one in its group are counted; `group` is sorted."""
    running = np.cumsum(counted, dtype=np.int64) - counted
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if group.size else np.zeros(0, dtype=np.int64)
    return np.asarray(running - np.repeat(running[starts], np.diff(np.r_[starts, group.size])), dtype=np.int64)


def _one_by_one(inside: Flags, outside: Flags, member: Rows, group: Rows, caps: Rows) -> Flags:
    """Decide the rest in order."""
    room = caps.copy()
    by_row = np.argsort(member, kind="stable")
    member, group = member[by_row], group[by_row]
    ends = np.searchsorted(member, np.arange(inside.size + 1))
    # A row that is in takes its place when its turn comes: those before it are not in its way.
    for row in np.flatnonzero(~outside).tolist():
        mine = group[ends[row] : ends[row + 1]]
        if inside[row] or (room[mine] > 0).all():
            inside[row] = True
            room[mine] -= 1
    return inside
