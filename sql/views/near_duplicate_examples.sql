-- One row = one of the three pairs merged at the lowest scores, or of the first three others by id. Did the merge take one for the other?
-- Reads: dropped (DROPPED), pairs (PAIR). Ids are hashes of content, so that the first are a sample. Writes: kind (`least close` or
-- `sample`), merged_count (of all), pair_id, witness_pair_id (which counts the votes), detail (by cosine or jaccard), score, threshold (0
-- to 1), and of both the last turn of the prompt, chosen and rejected (witness_prompt ...; texts of at most 1,200 characters).
with merged as (
    select
        pair_id,
        row_number() over (order by score, pair_id) as by_score,
        count(*) over () as merged_count
    from dropped
    where stage = 'deduplicate' and reason = 'near_duplicate'
),
ranked as (
    select pair_id, merged_count, by_score, row_number() over (partition by by_score <= 3 order by pair_id) as by_id
    from merged
),
taken as (
    select dropped.* exclude (stage), ranked.merged_count, ranked.by_score
    from ranked
    inner join dropped on ranked.pair_id = dropped.pair_id
    where ranked.by_score <= 3 or ranked.by_id <= 3
),
witnesses as (
    select pair_id, prompt, chosen, rejected from pairs where pair_id in (select witness_pair_id from taken)
    union all
    select pair_id, prompt, chosen, rejected from dropped where pair_id in (select witness_pair_id from taken)
)
select
    case when taken.by_score <= 3 then 'least close' else 'sample' end as kind,
    taken.merged_count,
    taken.pair_id,
    taken.witness_pair_id,
    taken.detail,
    taken.score,
    taken.threshold,
    excerpt(taken.prompt[-1:]) as prompt,
    excerpt(taken.chosen) as chosen,
    excerpt(taken.rejected) as rejected,
    excerpt(witnesses.prompt[-1:]) as witness_prompt,
    excerpt(witnesses.chosen) as witness_chosen,
    excerpt(witnesses.rejected) as witness_rejected
from taken
left join witnesses on taken.witness_pair_id = witnesses.pair_id
order by taken.by_score > 3, taken.score, taken.pair_id
