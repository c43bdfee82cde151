-- One row = one source. How often do its annotators contradict each other, and how often is there no winner?
-- Reads: pairs (PAIR), dropped (DROPPED) without merged near duplicates; a pair counts in each of its sources. Writes: source, pair_count,
-- repeated_count (pairs with at least two votes), conflict_count (of these: votes for both sides), conflict_share (of these, 0 to 1) with its
-- 95 % interval (Wilson), tie_count (pairs that consensus calls a tie), tie_share (of all pairs) with its interval, dropped_conflicts
-- (contradicted pairs that left).
with judged as (
    select unnest(sources) as source, n_votes, conflict, tie, false as is_dropped
    from pairs
    union all
    select unnest(sources) as source, n_votes, conflict, tie, true as is_dropped
    from dropped
    where reason <> 'near_duplicate'
),
counted as (
    select
        source,
        count(*) as pair_count,
        count(*) filter (where n_votes > 1) as repeated_count,
        count(*) filter (where conflict) as conflict_count,
        count(*) filter (where tie) as tie_count,
        count(*) filter (where conflict and is_dropped) as dropped_conflicts
    from judged
    group by source
)
select
    source,
    pair_count,
    repeated_count,
    conflict_count,
    conflict_count / nullif(repeated_count, 0) as conflict_share,
    wilson_low(conflict_count, repeated_count) as conflict_low,
    wilson_high(conflict_count, repeated_count) as conflict_high,
    tie_count,
    tie_count / pair_count as tie_share,
    wilson_low(tie_count, pair_count) as tie_low,
    wilson_high(tie_count, pair_count) as tie_high,
    dropped_conflicts
from counted
order by source
