-- Each row returned is one pair with a probability, margin or weight outside its range (a NaN is outside too).
-- Reads: pairs (PAIR), dropped (DROPPED).
with judged as (
    select pair_id, p_chosen, p_tie, margin, weight, noise_score, p_soft
    from pairs
    union all
    select pair_id, p_chosen, p_tie, margin, weight, noise_score, p_soft
    from dropped
)
select pair_id, p_chosen, p_tie, margin, weight, noise_score, p_soft
from judged
where p_chosen not between 0.5 and 1
    or p_tie not between 0 and 1
    or margin not between 0 and 1
    or not (weight >= 0 and isfinite(weight))
    or noise_score not between 0 and 1
    or p_soft not between 0 and 1
order by pair_id
