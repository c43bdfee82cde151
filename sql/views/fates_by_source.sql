-- One row = one source. What became of its records?
-- Reads: ledger (LEDGER). Writes: source, records, published, merged, dropped, quarantined, published_share (0 to 1).
with fates as (
    select
        source,
        count(*) as records,
        count(*) filter (where fate = 'published') as published,
        count(*) filter (where fate = 'merged') as merged,
        count(*) filter (where fate = 'dropped') as dropped,
        count(*) filter (where fate = 'quarantined') as quarantined
    from ledger
    group by source
)
select source, records, published, merged, dropped, quarantined, published / records as published_share
from fates
order by source
