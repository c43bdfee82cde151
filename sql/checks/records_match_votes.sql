-- Each row returned is one record that a pair lists without a vote of it there, or the other way round; or one published record
-- whose ledger row names no published pair that lists it; or one merged as a near duplicate into no such pair; or one record of a
-- published pair that is neither published nor merged into it.
-- Reads: pairs (PAIR), dropped (DROPPED), judgements (JUDGEMENT), ledger (LEDGER). A derived judgement is a vote of its ratings. A
-- judgement on a merged pair is a vote there and in the pair it was merged into.
with listed as (
    select pair_id, unnest(records) as record_id, true as is_published
    from pairs
    union all
    select pair_id, unnest(records) as record_id, false as is_published
    from dropped
),
counted as (
    select coalesce(merged_into, pair_id) as pair_id, judgement_id, derived_from
    from judgements
    where not is_copy
    union all
    select pair_id, judgement_id, derived_from
    from judgements
    where not is_copy and merged_into is not null
),
voted as (
    select distinct
        pair_id,
        unnest(case when len(derived_from) = 0 then [judgement_id] else derived_from end) as record_id
    from counted
),
published as (
    select record_id, pair_id, 'published, in no such pair' as problem
    from ledger
    where fate = 'published'
    union all
    select record_id, witness_pair_id as pair_id, 'merged, in no such pair' as problem
    from ledger
    where fate = 'merged' and reason = 'near_duplicate'
),
problems as (
    select
        coalesce(listed.record_id, voted.record_id) as record_id,
        coalesce(listed.pair_id, voted.pair_id) as pair_id,
        case when listed.record_id is null then 'voted, not listed' else 'listed, no vote' end as problem
    from listed
    full outer join voted on listed.pair_id = voted.pair_id and listed.record_id = voted.record_id
    where listed.record_id is null or voted.record_id is null
    union all
    select published.record_id, published.pair_id, published.problem
    from published
    left join listed on published.record_id = listed.record_id and published.pair_id = listed.pair_id and listed.is_published
    where listed.record_id is null
    union all
    select listed.record_id, listed.pair_id, 'in a published pair, not published' as problem
    from listed
    left join published on listed.record_id = published.record_id
    where listed.is_published and published.record_id is null
)
select record_id, pair_id, problem
from problems
order by record_id, pair_id, problem
