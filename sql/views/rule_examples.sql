-- One row = one of the first two pairs, by id, that left for one reason, or of the first three published ones. What do they look like?
-- Reads: pairs (PAIR), dropped (DROPPED). Ids are hashes of content, so that the first are a sample. Near duplicates are in
-- `near_duplicate_examples`. Writes: stage (null: published), reason, place (from 1), of_count (pairs with that reason), pair_id, score,
-- threshold, detail, sources, votes_chosen, votes_rejected, votes_tie, prompt (its last turn), chosen, rejected (texts of at most 1,200
-- characters).
with ranked as (
    select
        stage,
        reason,
        pair_id,
        row_number() over (partition by stage, reason order by pair_id) as place,
        count(*) over (partition by stage, reason) as of_count
    from (
        select stage, reason, pair_id from dropped where reason <> 'near_duplicate'
        union all
        select null as stage, 'published' as reason, pair_id from pairs
    )
),
taken as (
    select * from ranked where place <= 2 or (stage is null and place <= 3)
),
shown as (
    select
        null::double as score, null::double as threshold, null::varchar as detail,
        pair_id, sources, votes_chosen, votes_rejected, votes_tie, prompt, chosen, rejected
    from pairs
    where pair_id in (select pair_id from taken where stage is null)
    union all
    select score, threshold, detail, pair_id, sources, votes_chosen, votes_rejected, votes_tie, prompt, chosen, rejected
    from dropped
    where pair_id in (select pair_id from taken where stage is not null)
)
select
    taken.stage,
    taken.reason,
    taken.place,
    taken.of_count,
    taken.pair_id,
    shown.score,
    shown.threshold,
    shown.detail,
    shown.sources,
    shown.votes_chosen,
    shown.votes_rejected,
    shown.votes_tie,
    excerpt(shown.prompt[-1:]) as prompt,
    excerpt(shown.chosen) as chosen,
    excerpt(shown.rejected) as rejected
from taken
inner join shown on taken.pair_id = shown.pair_id
order by taken.stage is not null, taken.of_count desc, taken.stage, taken.reason, taken.place
