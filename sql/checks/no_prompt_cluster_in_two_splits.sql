-- Each row returned is one leak: a prompt cluster that is in more than one split. The files decide, not the column, so a
-- pair in the wrong file is found too. Dropped pairs count: what a later run keeps of them must not cross either.
-- Reads: train, validation, test, other (PAIR), dropped (DROPPED).
with placed as (
    select prompt_cluster_id, 'train' as split
    from train
    union all
    select prompt_cluster_id, 'validation' as split
    from validation
    union all
    select prompt_cluster_id, 'test' as split
    from test
    union all
    select prompt_cluster_id, split
    from other
    union all
    select prompt_cluster_id, split
    from dropped
)
select prompt_cluster_id, list_sort(list(distinct split)) as splits, count(*) as pair_count
from placed
group by prompt_cluster_id
having count(distinct split) > 1
order by prompt_cluster_id
