-- Each row returned is one stage of the funnel that loses rows without a word: what came in is not what was kept and dropped, or the drops
-- are not those that its reasons count.
-- Reads: stages.
with counted as (
    select position, stage, rows_in, kept, dropped, coalesce(list_sum(list_transform(reasons, lambda one: one.rows)), 0) as explained
    from stages
)
select position, stage, rows_in, kept, dropped, explained
from counted
where rows_in <> kept + dropped or dropped <> explained or least(rows_in, kept, dropped) < 0
order by position
