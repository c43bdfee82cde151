"""EDGE: what changed between two versions, pair by pair, and why.

Only ids, labels and counts are read, in a DuckDB session that spills to disk; no texts. Pairs are the same where their ids are: the
same two answers to the same prompt under the same criterion.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa

from pipeline.queries import PUBLISHED_PARTS, Tables, session
from pipeline.split import HELD_OUT, TEST

Change = Literal["added", "removed", "relabelled", "moved"]
CHANGES: tuple[Change, ...] = get_args(Change)
ROW = pa.schema(
    [
        ("change", pa.string()),  # one of CHANGES; a pair that was relabelled may have moved too, in a row of its own
        ("reason", pa.string()),  # few, to count by
        ("detail", pa.string()),  # what only this pair's row can say: file, score and threshold, votes; null: nothing
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("before", pa.string()),  # train, validation, test, `other (train)` ..., or `dropped: reason`; null: not there
        ("now", pa.string()),
        ("other_pair_id", pa.string()),  # the near duplicate, or the held-out pair that this one's cluster joined
    ]
)

_PAIR = "pair_id, prompt_id, prompt_cluster_id, split, chosen_id, votes_chosen, votes_rejected, votes_tie, votes_admitted, p_chosen, weight"
_PARTS = " union all ".join(f"select {_PAIR}, '{part}' as part from {{side}}{part}" for part in PUBLISHED_PARTS)
_PLACE = "if(part = 'other', 'other (' || split || ')', part)"
_BOTH = [name.strip() for name in (*_PAIR.split(","), "part")]
# Pairs that are not in both versions, or not with the same label, place, probability and weight.
_COMPARED = f"""
create temp table compared as
with before as ({_PARTS.format(side="before_")}),
now as ({_PARTS.format(side="")})
select
    {", ".join(f"b.{name} as b_{name}, n.{name} as n_{name}" for name in _BOTH)},
    coalesce(n.pair_id, b.pair_id) as pair_id,
    coalesce(n.prompt_id, b.prompt_id) as prompt_id,
    {_PLACE.replace("part", "b.part").replace("split", "b.split")} as b_place,
    {_PLACE.replace("part", "n.part").replace("split", "n.split")} as n_place
from before as b full join now as n on n.pair_id = b.pair_id
where b.pair_id is null or n.pair_id is null
    or (b.chosen_id, b.split, b.part, b.p_chosen, b.weight) is distinct from (n.chosen_id, n.split, n.part, n.p_chosen, n.weight)
"""
_FILES = """
create temp table files as
select
    coalesce(n.source, b.source) as source,
    coalesce(n.source_uri, b.source_uri) as source_uri,
    case when b.source_uri is null then 'new file' when n.source_uri is null then 'file no longer read'
        when b.sha256 is distinct from n.sha256 then 'file changed' else 'read or compared otherwise' end as status,
    list_position(['new file', 'file no longer read', 'file changed', 'read or compared otherwise'], status) as rank
from before_inputs as b full join inputs as n on n.source = b.source and n.source_uri = b.source_uri
"""
_DROP = "d.stage || coalesce(', score ' || printf('%.4g', d.score) || ', threshold ' || printf('%.4g', d.threshold), '')"
_DROP += " || coalesce(': ' || nullif(d.detail, ''), '')"
# Pairs of one version alone: left and came by their fate in the other version, or else by the files with their votes.
_ONE_SIDED = """
insert into told
with alone as (select pair_id, prompt_id, {side}_place as place from compared where {other}_pair_id is null),
votes as (
    select j.pair_id, arg_min(f.status, (f.rank, f.source_uri)) as status, arg_min(f.source_uri, (f.rank, f.source_uri)) as source_uri
    from (select distinct pair_id, source, source_uri from {votes} where pair_id in (select pair_id from alone)) as j
    join files as f on f.source = j.source and f.source_uri = j.source_uri
    group by j.pair_id
)
select
    '{change}' as change,
    case when d.reason = 'near_duplicate' then '{near}' when d.reason is not null then '{dropped}' || d.reason
        when v.status is null then 'read or compared otherwise' else v.status end as reason,
    if(d.reason is null, v.source_uri, {drop}) as detail,
    a.pair_id,
    a.prompt_id,
    {places},
    d.witness_pair_id as other_pair_id
from alone as a
left join {fates} as d on d.pair_id = a.pair_id
left join votes as v on v.pair_id = a.pair_id
"""
_ADDED = {
    "side": "n", "other": "b", "votes": "judgements", "fates": "before_dropped", "change": "added", "drop": _DROP,
    "near": "no longer a near duplicate", "dropped": "no longer dropped: ", "places": "'dropped: ' || d.reason as before, a.place as now",
}  # fmt: skip
_REMOVED = {
    "side": "b", "other": "n", "votes": "before_judgements", "fates": "dropped", "change": "removed", "drop": _DROP,
    "near": "merged as a near duplicate", "dropped": "dropped: ", "places": "a.place as before, 'dropped: ' || d.reason as now",
}  # fmt: skip
# Votes are told of the answer that is chosen now.
_RELABELLED = """
insert into told
select
    'relabelled',
    case when (b_votes_rejected, b_votes_chosen, b_votes_tie) is distinct from (n_votes_chosen, n_votes_rejected, n_votes_tie)
            then 'votes changed'
        when b_votes_admitted is distinct from n_votes_admitted then 'other votes admitted'
        else 'voters weighed otherwise' end,
    printf('votes for, against, tie: %d, %d, %d before; %d, %d, %d now', b_votes_rejected, b_votes_chosen, b_votes_tie,
        n_votes_chosen, n_votes_rejected, n_votes_tie),
    pair_id, prompt_id, b_place, n_place, null
from compared
where b_chosen_id <> n_chosen_id
"""
# In a cluster that moved: a pair that was held out before, or votes whose source holds them out.
_MOVED = """
insert into told
with moved as (select * from compared where b_place <> n_place),
clusters as (select distinct n_prompt_cluster_id as prompt_cluster_id, n_split as split from moved where b_split <> n_split),
members as (
    select p.pair_id, p.prompt_cluster_id, c.split
    from (select pair_id, prompt_cluster_id from pairs union all select pair_id, prompt_cluster_id from dropped) as p
    join clusters as c using (prompt_cluster_id)
),
before as (select pair_id, split from before_pairs union all select pair_id, split from before_dropped),
held_out as (
    select m.prompt_cluster_id, min(m.pair_id) as pair_id
    from members as m join before as b on b.pair_id = m.pair_id and b.split = m.split
    group by m.prompt_cluster_id
),
named as (
    select m.prompt_cluster_id, min(j.source_uri) as source_uri
    from judgements as j join members as m on m.pair_id = j.pair_id
    where regexp_matches(j.source_split, if(m.split = 'test', $test, $held_out))
    group by m.prompt_cluster_id
)
select
    'moved',
    case when b_split = n_split then 'form changed' when h.pair_id is not null then 'joined held-out prompts'
        when s.source_uri is not null then 'held out by a source' else 'assigned otherwise' end,
    if(b_split <> n_split and h.pair_id is null, s.source_uri, null),
    m.pair_id, m.prompt_id, b_place, n_place, if(b_split <> n_split, h.pair_id, null)
from moved as m
left join held_out as h on h.prompt_cluster_id = m.n_prompt_cluster_id
left join named as s on s.prompt_cluster_id = m.n_prompt_cluster_id
where b_pair_id is not null and n_pair_id is not null
"""
_COUNTS = """
select
    (select count(*) from before_pairs) as pairs_before,
    (select count(*) from pairs) as pairs_now,
    count(*) filter (b_pair_id is not null and n_pair_id is not null and b_p_chosen is distinct from n_p_chosen) as p_chosen_changed,
    count(*) filter (b_pair_id is not null and n_pair_id is not null and b_weight is distinct from n_weight) as weight_changed
from compared
"""
_ORDER = "list_position(['added', 'removed', 'relabelled', 'moved'], change)"


@dataclass(frozen=True)
class Diff:
    """What changed, summed up and pair by pair."""

    counts: dict[str, int]  # pairs_before, pairs_now, p_chosen_changed, weight_changed
    totals: list[dict[str, Any]]  # change, reason, pairs; most frequent reason of a change first
    rows: pa.Table  # ROW, by change, reason and pair id


def compare(old: Tables, new: Tables, limit: int | None = None, change: Change | None = None) -> Diff:
    """Compare two versions.

    Args:
        old: the earlier version's tables (`queries.open_version(...).tables`).
        new: the later one's.
        limit: rows to tell of each change; all when None. Counts and totals are of all pairs.
        change: rows of this change only.
    """
    with _told(old, new) as con:
        counts = con.sql(_COUNTS).to_arrow_table().to_pylist()[0]
        sql = f"select {', '.join(ROW.names)} from told where $change is null or change = $change"
        if limit is not None:
            sql += " qualify row_number() over (partition by change order by reason, pair_id) <= $limit"
        values: dict[str, Any] = {"change": change} | ({} if limit is None else {"limit": limit})
        rows = con.sql(f"{sql} order by {_ORDER}, reason, pair_id", params=values).to_arrow_table()
        return Diff(counts, _totals(con), rows.cast(ROW))


def totals(old: Tables, new: Tables) -> list[dict[str, Any]]:
    """How many pairs changed, by change and reason: change, reason, pairs; in the order of CHANGES, most frequent first."""
    with _told(old, new) as con:
        return _totals(con)


def _totals(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    sql = f"select change, reason, count(*) as pairs from told group by change, reason order by {_ORDER}, pairs desc, reason"
    return list(con.sql(sql).to_arrow_table().to_pylist())


@contextmanager
def _told(old: Tables, new: Tables) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with the tables `compared` and `told` (ROW)."""
    every = " ".join((_COMPARED, _FILES, _MOVED, _COUNTS, *(_ONE_SIDED.format(**side) for side in (_ADDED, _REMOVED))))
    with session({**new, **{f"before_{name}": table for name, table in old.items()}}, asked=every) as con:
        con.execute(_COMPARED)
        con.execute(_FILES)
        con.execute(f"create temp table told ({', '.join(f'{name} varchar' for name in ROW.names)})")
        con.execute(_ONE_SIDED.format(**_ADDED))
        con.execute(_ONE_SIDED.format(**_REMOVED))
        con.execute(_RELABELLED)
        con.execute(_MOVED, {"test": TEST, "held_out": HELD_OUT})
        yield con
