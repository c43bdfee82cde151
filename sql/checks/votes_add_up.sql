-- Each row returned is one pair whose votes are not its records: n_votes = for chosen + for rejected + ties = records.
-- Reads: pairs (PAIR), dropped (DROPPED).
with judged as (
    select pair_id, n_votes, votes_chosen, votes_rejected, votes_tie, len(records) as record_count
    from pairs
    union all
    select pair_id, n_votes, votes_chosen, votes_rejected, votes_tie, len(records) as record_count
    from dropped
)
select pair_id, n_votes, votes_chosen, votes_rejected, votes_tie, record_count
from judged
where n_votes <> votes_chosen + votes_rejected + votes_tie
    or n_votes <> record_count
    or least(votes_chosen, votes_rejected, votes_tie) < 0
order by pair_id
