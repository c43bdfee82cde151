-- One row = one annotator. Which annotators disagree with everyone? How often do they tie, and do they side with the merged label?
-- Reads: judgements (JUDGEMENT), pairs (PAIR), dropped (DROPPED); copies do not vote, and a vote on a merged pair is compared with
-- the label of the pair that counts it. Writes: annotator_id, annotator_kind,
-- votes, tie_share, agreeing_share (of votes that are no ties), shared_votes and shared_agreeing_share (the same, on pairs
-- where others voted too: alone, an annotator always agrees with the label), with its 95 % interval (Wilson). Shares are 0 to 1,
-- null without votes. Those whose interval ends lowest come first. Unnamed voters of a source are one; `annotators` has what the vote
-- model makes of each.
with labels as (
    select pair_id, chosen_id, tie, n_annotators
    from pairs
    union all
    select pair_id, chosen_id, tie, n_annotators
    from dropped
),
votes as (
    select
        judgements.annotator_id,
        judgements.annotator_kind,
        judgements.outcome = 'tie' as is_tie,
        judgements.outcome <> 'tie' and not labels.tie as is_comparable,
        (judgements.outcome = 'a') = (coalesce(judgements.merged_a, judgements.response_a_id) = labels.chosen_id) as agrees,
        labels.n_annotators > 1 as is_shared
    from judgements
    left join labels on coalesce(judgements.merged_into, judgements.pair_id) = labels.pair_id
    where not judgements.is_copy
),
counted as (
    select
        annotator_id,
        annotator_kind,
        count(*) as votes,
        avg(is_tie::int) as tie_share,
        avg(agrees::int) filter (where is_comparable) as agreeing_share,
        count(*) filter (where is_comparable and is_shared) as shared_votes,
        count(*) filter (where is_comparable and is_shared and agrees) as agreeing
    from votes
    group by annotator_id, annotator_kind
)
select
    annotator_id,
    annotator_kind,
    votes,
    tie_share,
    agreeing_share,
    shared_votes,
    agreeing / nullif(shared_votes, 0) as shared_agreeing_share,
    wilson_low(agreeing, shared_votes) as shared_agreeing_low,
    wilson_high(agreeing, shared_votes) as shared_agreeing_high
from counted
order by shared_agreeing_high nulls last, annotator_id, annotator_kind
