-- One row = one pair of sources. How many records of the first repeat a record of the second?
-- Reads: ledger (LEDGER). Writes: copy_source, original_source, record_count.
with copies as (
    select record_id, source
    from ledger
    where fate = 'merged' and reason = 'copy'
),
originals as (
    select record_id, source
    from ledger
    where not (fate = 'merged' and reason = 'copy')
)
select copies.source as copy_source, originals.source as original_source, count(*) as record_count
from copies
inner join originals on copies.record_id = originals.record_id
group by copies.source, originals.source
order by record_count desc, copy_source, original_source
