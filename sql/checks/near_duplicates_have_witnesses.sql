-- Each row returned is one pair that was merged as a near duplicate although it should not have been, or whose votes did not go where
-- it went: its witness is no pair, was itself merged (a chain), is about something else, or has the opposite majority; the score does
-- not reach the threshold; its votes count elsewhere; or the witness counts another number of merged pairs.
-- Reads: pairs (PAIR), dropped (DROPPED), judgements (JUDGEMENT; copies do not vote).
with every_pair as (
    select pair_id, criterion, context, tools, chosen_id, rejected_id, near_duplicates, false as is_merged
    from pairs
    union all
    select
        pair_id,
        criterion,
        context,
        tools,
        chosen_id,
        rejected_id,
        near_duplicates,
        stage = 'deduplicate' and reason = 'near_duplicate' as is_merged
    from dropped
),
merged as (
    select pair_id, witness_pair_id, criterion, context, tools, score, threshold
    from dropped
    where stage = 'deduplicate' and reason = 'near_duplicate'
),
-- Each pair's own votes, said of the answers of the pair that counts them; those that a run asked judges for came after merging.
votes as (
    select
        judgements.pair_id,
        judgements.merged_into,
        judgements.outcome,
        coalesce(judgements.merged_a, judgements.response_a_id) as a_id,
        every_pair.chosen_id,
        every_pair.rejected_id
    from judgements
    left join every_pair on coalesce(judgements.merged_into, judgements.pair_id) = every_pair.pair_id
    where not judgements.is_copy and not starts_with(judgements.source, 'judge:')
),
majorities as (
    select pair_id, sum(case when outcome = 'tie' then 0 when (outcome = 'a') = (a_id = chosen_id) then 1 else -1 end) as lead_of_chosen
    from votes
    group by pair_id
),
witness_counts as (
    select witness_pair_id, count(*) as merged_count
    from merged
    group by witness_pair_id
),
problems as (
    select
        merged.pair_id,
        case
            when witness.pair_id is null then 'its witness is no pair'
            when witness.is_merged then 'its witness was merged too'
            when merged.score is null or merged.threshold is null or not (merged.score >= merged.threshold)
                then 'merged below the threshold'
            when merged.criterion <> witness.criterion
                or merged.context is distinct from witness.context
                or merged.tools is distinct from witness.tools
                then 'its witness is about something else'
            when mine.lead_of_chosen * theirs.lead_of_chosen < 0 then 'its witness has the opposite majority'
        end as problem
    from merged
    left join every_pair as witness on merged.witness_pair_id = witness.pair_id
    left join majorities as mine on merged.pair_id = mine.pair_id
    left join majorities as theirs on merged.witness_pair_id = theirs.pair_id
    union all
    select distinct
        votes.pair_id,
        case
            when votes.merged_into is distinct from merged.witness_pair_id then 'its votes count elsewhere'
            when votes.merged_into is not null and votes.a_id not in (votes.chosen_id, votes.rejected_id) then 'its votes name no answer there'
        end as problem
    from votes
    left join merged on votes.pair_id = merged.pair_id
    union all
    select every_pair.pair_id, 'counts another number of merged pairs' as problem
    from every_pair
    left join witness_counts on every_pair.pair_id = witness_counts.witness_pair_id
    where every_pair.near_duplicates <> coalesce(witness_counts.merged_count, 0)
)
select pair_id, problem
from problems
where problem is not null
order by pair_id, problem
