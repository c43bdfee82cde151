-- One row = one source and split. Do the shares hold, and does any prompt cluster cross a split?
-- A cluster with pairs of several sources counts for each. Dropped pairs are in clusters too, so that nothing leaks through them later.
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: source, split, pair_count (published), prompt_clusters,
-- cluster_share (0 to 1, of the source's clusters), leaking_clusters (that are in another split too; the checks of a publish demand 0).
with placed as (
    select prompt_cluster_id, split, sources, true as published
    from pairs
    union all
    select prompt_cluster_id, split, sources, false as published
    from dropped
),
leaks as (
    select prompt_cluster_id
    from placed
    group by prompt_cluster_id
    having count(distinct split) > 1
),
by_source as (
    select unnest(sources) as source, split, prompt_cluster_id, published
    from placed
),
counted as (
    select
        b.source,
        b.split,
        count(*) filter (b.published) as pair_count,
        count(distinct b.prompt_cluster_id) as prompt_clusters,
        count(distinct l.prompt_cluster_id) as leaking_clusters
    from by_source as b
    left join leaks as l on l.prompt_cluster_id = b.prompt_cluster_id
    group by b.source, b.split
)
select
    source,
    split,
    pair_count,
    prompt_clusters,
    prompt_clusters / sum(prompt_clusters) over (partition by source) as cluster_share,
    leaking_clusters
from counted
order by source, split
