-- One row = one reason and field of one source. What could not be read, and where is an example?
-- Reads: quarantine (QUARANTINE). Writes: source, reason, field, record_count, example_uri, example_row, example_detail.
with examples as (
    select
        source,
        reason,
        field,
        count(*) as record_count,
        min({'uri': source_uri, 'row': source_row, 'detail': detail}) as example
    from quarantine
    group by source, reason, field
)
select
    source,
    reason,
    field,
    record_count,
    example.uri as example_uri,
    example.row as example_row,
    example.detail as example_detail
from examples
order by source, record_count desc, reason, field
