-- Each row returned is one file whose rows are not all in the ledger, or a ledger file that is no input.
-- Reads: inputs (INPUT), ledger (LEDGER). A file that could not be read to its end has no rows; rows_counted is null where
-- no second reader counted (the ingested rows are compared all the same). A joined file has rows, but no records of its own.
with seen as (
    select source, source_uri, count(distinct source_row) as ledger_rows
    from ledger
    group by source, source_uri
)
select
    coalesce(inputs.source, seen.source) as source,
    coalesce(inputs.source_uri, seen.source_uri) as source_uri,
    inputs.rows_counted,
    inputs.rows as rows_ingested,
    coalesce(seen.ledger_rows, 0) as ledger_rows
from inputs
full outer join seen on inputs.source = seen.source and inputs.source_uri = seen.source_uri
where inputs.unreadable is null
    and (
        inputs.source_uri is null
        or coalesce(inputs.rows_counted, inputs.rows) <> inputs.rows
        or inputs.rows <> coalesce(seen.ledger_rows, 0) and inputs.role is distinct from 'joined'
        or seen.ledger_rows > 0 and inputs.role = 'joined'
    )
order by source, source_uri
