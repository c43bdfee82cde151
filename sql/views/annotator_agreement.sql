-- One row = one annotator. Which annotators disagree with everyone?
-- Reads: judgements (JUDGEMENT), pairs (PAIR), dropped (DROPPED), annotators (ANNOTATOR); copies do not vote, and a vote on a merged
-- pair is compared with those on the pair that counts it. Writes: annotator_id, annotator_kind, votes, tie_share, shared_votes (for a
-- side, on pairs where the others' votes lead to a side; the annotator's own do not count there, else everybody would agree with
-- somebody), agreeing_share of these with its 95 % interval (Wilson), what the vote model says (accuracy with its interval), admitted,
-- note. Shares are 0 to 1, null without votes. Those whose interval ends lowest come first. The unnamed voters of a source are one row,
-- and each is compared with all others.
with sides as (
    select pair_id, chosen_id
    from pairs
    union all
    select pair_id, chosen_id
    from dropped
),
votes as (
    select
        judgements.annotator_kind,
        sides.pair_id,
        case when judgements.annotator_id = 'unnamed' then 'unnamed ' || judgements.source else judgements.annotator_id end as annotator_id,
        case when judgements.annotator_id = 'unnamed' then judgements.judgement_id || judgements.source_uri || judgements.source_row
            else judgements.annotator_id end as voter,
        case
            when judgements.outcome = 'tie' then 0
            when (judgements.outcome = 'a') = (coalesce(judgements.merged_a, judgements.response_a_id) = sides.chosen_id) then 1
            else -1
        end as side
    from judgements
    inner join sides on coalesce(judgements.merged_into, judgements.pair_id) = sides.pair_id
    where not judgements.is_copy
),
compared as (
    select
        annotator_id,
        annotator_kind,
        side,
        sum(side) over (partition by pair_id) - sum(side) over (partition by pair_id, annotator_kind, voter) as others
    from votes
),
counted as (
    select
        annotator_id,
        annotator_kind,
        count(*) as votes,
        avg((side = 0)::int) as tie_share,
        count(*) filter (where side * others <> 0) as shared_votes,
        count(*) filter (where side * others > 0) as agreeing
    from compared
    group by annotator_id, annotator_kind
)
select
    counted.annotator_id,
    counted.annotator_kind,
    counted.votes,
    counted.tie_share,
    counted.shared_votes,
    counted.agreeing / nullif(counted.shared_votes, 0) as agreeing_share,
    wilson_low(counted.agreeing, counted.shared_votes) as agreeing_low,
    wilson_high(counted.agreeing, counted.shared_votes) as agreeing_high,
    annotators.accuracy,
    annotators.accuracy_low,
    annotators.accuracy_high,
    annotators.admitted,
    annotators.note
from counted
left join annotators on counted.annotator_id = annotators.annotator_id and counted.annotator_kind = annotators.annotator_kind
order by agreeing_high nulls last, counted.annotator_id, counted.annotator_kind
