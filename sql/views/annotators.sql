-- One row = one annotator. How much do they vote, how often do they tie, and do they side with the merged label?
-- Reads: judgements (JUDGEMENT), pairs (PAIR), dropped (DROPPED); copies do not vote, and a vote on a merged pair is compared with
-- the label of the pair that counts it. Writes: annotator_id, annotator_kind,
-- votes, tie_share, agreeing_share (of votes that are no ties), shared_votes and shared_agreeing_share (the same, on pairs
-- where others voted too: alone, an annotator always agrees with the label). Shares are 0 to 1, null without votes.
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
)
select
    annotator_id,
    annotator_kind,
    count(*) as votes,
    avg(is_tie::int) as tie_share,
    avg(agrees::int) filter (where is_comparable) as agreeing_share,
    count(*) filter (where is_comparable and is_shared) as shared_votes,
    avg(agrees::int) filter (where is_comparable and is_shared) as shared_agreeing_share
from votes
group by annotator_id, annotator_kind
order by votes desc, annotator_id, annotator_kind
