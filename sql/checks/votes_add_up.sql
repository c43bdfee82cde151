-- Each row returned is one pair whose votes are not its judgements: n_votes = for chosen + for rejected + ties = judgements.
-- Reads: pairs (PAIR), dropped (DROPPED), judgements (JUDGEMENT; copies do not vote). A judgement on a merged pair counts twice
-- over: in the pair it was merged into, and in its own, which is in dropped.
with judged as (
    select pair_id, n_votes, votes_chosen, votes_rejected, votes_tie
    from pairs
    union all
    select pair_id, n_votes, votes_chosen, votes_rejected, votes_tie
    from dropped
),
counted as (
    select coalesce(merged_into, pair_id) as pair_id
    from judgements
    where not is_copy
    union all
    select pair_id
    from judgements
    where not is_copy and merged_into is not null
),
voted as (
    select pair_id, count(*) as judgement_count
    from counted
    group by pair_id
)
select
    judged.pair_id,
    judged.n_votes,
    judged.votes_chosen,
    judged.votes_rejected,
    judged.votes_tie,
    coalesce(voted.judgement_count, 0) as judgement_count
from judged
left join voted on judged.pair_id = voted.pair_id
where judged.n_votes <> judged.votes_chosen + judged.votes_rejected + judged.votes_tie
    or judged.n_votes <> coalesce(voted.judgement_count, 0)
    or least(judged.votes_chosen, judged.votes_rejected, judged.votes_tie) < 0
order by judged.pair_id
