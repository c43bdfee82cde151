-- Each row returned is one rationale of no pair, one accepted without a text or items, one refused without a reason, or one that stands
-- there twice; or one pair whose own rationale is none of its accepted ones.
-- Reads: rationales (RATIONALE), pairs (PAIR), dropped (DROPPED).
with every_pair as (
    select pair_id, rationale
    from pairs
    union all
    select pair_id, rationale
    from dropped
),
told as (
    select
        rationales.pair_id,
        rationales.rationale_id,
        case
            when every_pair.pair_id is null then 'explains no pair'
            when rationales.accepted and rationales.text is null and rationales.items is null then 'accepted, and says nothing'
            when not rationales.accepted and rationales.reason is null then 'refused without a reason'
            when count(*) over (partition by rationales.rationale_id) > 1 then 'stands there twice'
        end as problem
    from rationales
    left join every_pair on rationales.pair_id = every_pair.pair_id
),
shown as (
    select every_pair.pair_id, null::varchar as rationale_id, 'its rationale is none of the accepted ones' as problem
    from every_pair
    left join rationales
        on every_pair.pair_id = rationales.pair_id
        and every_pair.rationale.kind = rationales.kind
        and every_pair.rationale.text = rationales.text
        and rationales.accepted
    where every_pair.rationale is not null and rationales.rationale_id is null
)
select pair_id, rationale_id, problem from told where problem is not null
union all
select pair_id, rationale_id, problem from shown
order by pair_id, rationale_id, problem
