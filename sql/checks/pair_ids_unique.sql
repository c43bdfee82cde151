-- Each row returned is one pair id that occurs more than once among published and dropped pairs.
-- Reads: train, validation, test, other (PAIR), dropped (DROPPED).
with placed as (
    select pair_id, 'train' as place
    from train
    union all
    select pair_id, 'validation' as place
    from validation
    union all
    select pair_id, 'test' as place
    from test
    union all
    select pair_id, 'other' as place
    from other
    union all
    select pair_id, 'dropped' as place
    from dropped
)
select pair_id, list_sort(list(place)) as places
from placed
group by pair_id
having count(*) > 1
order by pair_id
