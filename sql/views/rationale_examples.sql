-- One row = one of the first two accepted rationales of a kind, or the first one refused for a reason, by id. What do they say?
-- Reads: rationales (RATIONALE), pairs (PAIR), dropped (DROPPED). Ids are hashes, so that the first are a sample. At most 24 rows. Writes:
-- kind, accepted, reason and detail (why not), generator, text (at most 1,200 characters), pair_id, prompt (its last turn), chosen, rejected
-- (texts of at most 300 characters).
with ranked as (
    select
        kind,
        accepted,
        reason,
        detail,
        generator,
        text,
        pair_id,
        row_number() over (partition by kind, accepted, reason order by rationale_id) as place
    from rationales
    where text is not null
),
taken as (
    select *
    from ranked
    where place = 1 or (accepted and place = 2)
    order by place, accepted desc, kind, reason
    limit 24
),
judged as (
    select pair_id, prompt, chosen, rejected from pairs where pair_id in (select pair_id from taken)
    union all
    select pair_id, prompt, chosen, rejected from dropped where pair_id in (select pair_id from taken)
)
select
    taken.kind,
    taken.accepted,
    taken.reason,
    taken.detail,
    taken.generator,
    case when length(taken.text) > 1200 then left(taken.text, 1200) || ' ...' else taken.text end as text,
    taken.pair_id,
    readable(judged.prompt[-1:]) as prompt,
    readable(judged.chosen) as chosen,
    readable(judged.rejected) as rejected
from taken
inner join judged on taken.pair_id = judged.pair_id
order by taken.accepted desc, taken.kind, taken.reason, taken.place
