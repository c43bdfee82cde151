-- Each row returned is one record or pair that left without an explanation: every drop and merge has a reason, and a
-- merge has a witness that passes the threshold itself (a copy of a rating that fed no pair has none). A record that fed no
-- pair says why, and one whose pair was merged into a dropped pair names that one.
-- Reads: ledger (LEDGER), dropped (DROPPED).
with originals_without_pair as (
    select distinct record_id
    from ledger
    where fate = 'dropped' and pair_id is null
),
merged_pairs as (
    select pair_id
    from dropped
    where stage = 'deduplicate' and reason = 'near_duplicate'
),
unexplained_records as (
    select
        record_id as id,
        case
            when reason = '' then 'no reason'
            when fate = 'merged' and witness_pair_id is null
                and not (reason = 'copy' and record_id in (select record_id from originals_without_pair))
                then 'merged without a witness'
            when fate = 'merged' and (score is null or threshold is null or not (score >= threshold))
                then 'merged below the threshold'
            when fate = 'dropped' and pair_id is not null and pair_id not in (select pair_id from dropped)
                then 'its pair is not in dropped'
            when fate = 'dropped' and pair_id is null and detail is null then 'in no pair without a detail'
            when fate = 'dropped' and witness_pair_id is null and pair_id in (select pair_id from merged_pairs)
                then 'dropped with a pair that it does not name'
        end as problem
    from ledger
    where fate in ('merged', 'dropped')
),
unexplained_pairs as (
    select pair_id as id, 'dropped without a reason' as problem
    from dropped
    where reason = ''
)
select id, problem from unexplained_records where problem is not null
union all
select id, problem from unexplained_pairs
order by id, problem
