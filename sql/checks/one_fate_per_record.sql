-- Each row returned is one record with no fate, with several, or with one that does not fit it: what was ingested and the
-- ledger must match one to one, and of a record and its copies exactly one is not a copy.
-- Reads: judgements (JUDGEMENT; those derived from ratings are no records), ratings (RATING), quarantine (QUARANTINE), ledger (LEDGER).
with ingested as (
    select judgement_id as record_id, source, source_uri, source_row, 0 as is_quarantined
    from judgements
    where len(derived_from) = 0
    union all
    select rating_id as record_id, source, source_uri, source_row, 0 as is_quarantined
    from ratings
    union all
    select record_id, source, source_uri, source_row, 1 as is_quarantined
    from quarantine
),
ingested_counts as (
    select record_id, source, source_uri, source_row, is_quarantined, count(*) as records
    from ingested
    group by record_id, source, source_uri, source_row, is_quarantined
),
fates as (
    select record_id, source, source_uri, source_row, (fate = 'quarantined')::int as is_quarantined, count(*) as records
    from ledger
    group by record_id, source, source_uri, source_row, (fate = 'quarantined')::int
),
unmatched as (
    select
        coalesce(ingested_counts.record_id, fates.record_id) as record_id,
        'records ' || coalesce(ingested_counts.records, 0) || ', ledger rows ' || coalesce(fates.records, 0) as problem
    from ingested_counts
    full outer join fates
        on ingested_counts.record_id = fates.record_id
        and ingested_counts.source = fates.source
        and ingested_counts.source_uri = fates.source_uri
        and ingested_counts.source_row = fates.source_row
        and ingested_counts.is_quarantined = fates.is_quarantined
    where ingested_counts.records is distinct from fates.records
),
originals as (
    select record_id, 'rows that are no copy: ' || count(*) filter (where not (fate = 'merged' and reason = 'copy')) as problem
    from ledger
    where fate <> 'quarantined'
    group by record_id
    having count(*) filter (where not (fate = 'merged' and reason = 'copy')) <> 1
),
unknown_fates as (
    select record_id, 'unknown fate: ' || fate as problem
    from ledger
    where fate not in ('published', 'merged', 'dropped', 'quarantined')
)
select record_id, problem from unmatched
union all
select record_id, problem from originals
union all
select record_id, problem from unknown_fates
order by record_id, problem
