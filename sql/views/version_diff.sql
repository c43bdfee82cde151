-- One row = one kind of change since the version before, from one split to another. How many pairs came, left, or changed label or split?
-- A pair that was relabelled and moved counts as relabelled. `prefine diff` has each pair, and the reason.
-- Reads: pairs, previous_pairs (PAIR; those of the version before: none where this is the first).
-- Writes: change (added, removed, relabelled, moved), before, now (splits; null: not there), pair_count.
with compared as (
    select
        b.split as before,
        n.split as now,
        case when b.pair_id is null then 'added' when n.pair_id is null then 'removed' when b.chosen_id <> n.chosen_id then 'relabelled'
            when b.split <> n.split then 'moved' end as change
    from previous_pairs as b
    full join pairs as n on n.pair_id = b.pair_id
)
select change, before, now, count(*) as pair_count
from compared
where change is not null
group by change, before, now
order by change, before, now
