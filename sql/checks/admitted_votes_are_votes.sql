-- Each row returned is one pair of whose votes more enter consensus than there are, or more come from judges that did not pass than enter.
-- Reads: pairs (PAIR), dropped (DROPPED).
with judged as (
    select pair_id, n_votes, votes_admitted, unaudited_votes
    from pairs
    union all
    select pair_id, n_votes, votes_admitted, unaudited_votes
    from dropped
)
select pair_id, n_votes, votes_admitted, unaudited_votes
from judged
where not (0 <= unaudited_votes and unaudited_votes <= votes_admitted and votes_admitted <= n_votes)
order by pair_id
