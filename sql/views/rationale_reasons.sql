-- One row = one reason for which rationales of one kind and writer were not accepted. Why not?
-- Reads: rationales (RATIONALE). Writes: kind, generator (all who stated one are `stated`), reason, rationale_count, share (of all
-- rationales of that kind and writer, 0 to 1), example_pair_id, example_detail; the most frequent first within a kind and writer.
with written as (
    select
        kind,
        case kind when 'stated' then 'stated' else generator end as generator,
        accepted,
        reason,
        detail,
        pair_id,
        rationale_id
    from rationales
),
counted as (
    select kind, generator, count(*) as of_count
    from written
    group by kind, generator
),
refused as (
    select
        kind,
        generator,
        reason,
        count(*) as rationale_count,
        arg_min({'pair_id': pair_id, 'detail': detail}, rationale_id) as example
    from written
    where not accepted
    group by kind, generator, reason
)
select
    refused.kind,
    refused.generator,
    refused.reason,
    refused.rationale_count,
    refused.rationale_count / counted.of_count as share,
    refused.example.pair_id as example_pair_id,
    refused.example.detail as example_detail
from refused
inner join counted on refused.kind = counted.kind and refused.generator = counted.generator
order by refused.kind, refused.generator, refused.rationale_count desc, refused.reason
