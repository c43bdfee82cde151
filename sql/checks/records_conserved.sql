-- Each row returned is one file whose records are not as many as its ledger rows.
-- Reads: inputs (INPUT), ledger (LEDGER).
with seen as (
    select source, source_uri, count(*) as ledger_records
    from ledger
    group by source, source_uri
)
select inputs.source, inputs.source_uri, inputs.records, coalesce(seen.ledger_records, 0) as ledger_records
from inputs
left join seen on inputs.source = seen.source and inputs.source_uri = seen.source_uri
where inputs.records <> coalesce(seen.ledger_records, 0)
order by inputs.source, inputs.source_uri
