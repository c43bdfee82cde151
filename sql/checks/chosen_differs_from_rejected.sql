-- Each row returned is one published pair whose two answers are the same.
-- Reads: pairs (PAIR).
select pair_id, chosen_id, rejected_id
from pairs
where chosen_id = rejected_id or chosen = rejected
order by pair_id
