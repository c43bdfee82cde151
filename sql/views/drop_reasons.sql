-- One row = one reason in one stage. Why did pairs leave, and how far past the threshold were they?
-- Reads: dropped (DROPPED). Writes: stage, reason, pair_count, vote_count, lowest_score, highest_score, threshold
-- (the three are null where the reason has no score).
select
    stage,
    reason,
    count(*) as pair_count,
    sum(n_votes)::bigint as vote_count,
    min(score) as lowest_score,
    max(score) as highest_score,
    min(threshold) as threshold
from dropped
group by stage, reason
order by pair_count desc, stage, reason
