-- Each row returned is one record or pair that left without an explanation: every drop and merge has a reason, and a
-- merge has a witness that passes the threshold itself.
-- Reads: ledger (LEDGER), dropped (DROPPED).
with unexplained_records as (
    select
        record_id as id,
        case
            when reason = '' then 'no reason'
            when fate = 'merged' and witness_pair_id is null then 'merged without a witness'
            when fate = 'merged' and (score is null or threshold is null or not (score >= threshold))
                then 'merged below the threshold'
            when fate = 'dropped' and pair_id is not null and pair_id not in (select pair_id from dropped)
                then 'its pair is not in dropped'
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
