-- One row = one of the twelve annotators with most votes, or of the twelve others whose accuracy's interval ends lowest. How reliable are they?
-- Reads: annotators (ANNOTATOR). Writes: kind (`most votes` or `lowest`), annotator_count (of all), annotator_id, annotator_kind, votes,
-- accuracy with its 95 % interval (0 to 1, as the vote model sees it; null: cannot be told), admitted, note. `annotator_agreement` has all.
with by_votes as (
    select
        annotator_id,
        annotator_kind,
        votes,
        accuracy,
        accuracy_low,
        accuracy_high,
        admitted,
        note,
        count(*) over () as annotator_count,
        row_number() over (order by votes desc, annotator_id, annotator_kind) as by_votes
    from annotators
),
ranked as (
    select
        *,
        row_number() over (partition by by_votes <= 12 order by accuracy_high nulls last, annotator_id, annotator_kind) as by_accuracy
    from by_votes
)
select
    case when by_votes <= 12 then 'most votes' else 'lowest' end as kind,
    annotator_count,
    annotator_id,
    annotator_kind,
    votes,
    accuracy,
    accuracy_low,
    accuracy_high,
    admitted,
    note
from ranked
where by_votes <= 12 or (by_accuracy <= 12 and accuracy_high is not null)
order by by_votes > 12, case when by_votes <= 12 then by_votes else by_accuracy end
