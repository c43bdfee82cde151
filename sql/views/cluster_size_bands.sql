-- One row = one band of sizes of prompt clusters. Do a few prompts fill the data set?
-- Reads: pairs (PAIR). Writes: smallest, largest (pairs in a cluster: 1, 2, 3 to 4, 5 to 8 ...), cluster_count, pair_count, pair_share (of
-- all published pairs, 0 to 1), largest_cluster (the id of the band's largest one).
with clusters as (
    select prompt_cluster_id, count(*) as pairs_held
    from pairs
    group by prompt_cluster_id
),
banded as (
    select prompt_cluster_id, pairs_held, ceil(log2(pairs_held))::bigint as band
    from clusters
)
select
    case when band = 0 then 1 else (1::bigint << (band - 1)) + 1 end as smallest,
    1::bigint << band as largest,
    count(*) as cluster_count,
    sum(pairs_held)::bigint as pair_count,
    sum(pairs_held) / sum(sum(pairs_held)) over () as pair_share,
    arg_max(prompt_cluster_id, (pairs_held, prompt_cluster_id)) as largest_cluster
from banded
group by band
order by band
