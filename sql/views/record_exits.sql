-- One row = one source and one way that its records took. How many speak in a pair, and how did the others end before?
-- Reads: ledger (LEDGER). Writes: source, way (`quarantined`; `copy` of another record; `unpaired`: read, but no pair was made of it;
-- `paired`), reason (null: paired), record_count; all rows add up to the ledger's.
with ways as (
    select
        source,
        reason,
        case
            when fate = 'quarantined' then 'quarantined'
            when fate = 'merged' and reason = 'copy' then 'copy'
            when pair_id is null then 'unpaired'
            else 'paired'
        end as way
    from ledger
)
select source, way, case when way <> 'paired' then reason end as reason, count(*) as record_count
from ways
group by all
order by source, way, record_count desc, reason
