-- One row = one score of displacement or difficulty that some pair has. How is it distributed over the published pairs?
-- Reads: pairs (PAIR). Writes: score_name, pair_count (with a value), missing_count (without one; `ches_missing` says why), lowest, p05,
-- p15, p25, p50, p75, p95, highest (in the score's own unit; of ches and ches_ln comparable within one model only), above_zero_share
-- (0 to 1; of difficulty: pairs that the reference model ranks wrongly) with its 95 % interval (Wilson).
with scores as (
    select ches, ches_ln, ches_encoder, ches_encoder_ln, last_hidden_inner, difficulty
    from pairs
),
long_form as (
    unpivot scores on columns(*) into name score_name value score
),
counted as (
    select
        score_name,
        count(*) as pair_count,
        count(*) filter (where score > 0) as above_zero,
        min(score) as lowest,
        quantile_disc(score, [0.05, 0.15, 0.25, 0.5, 0.75, 0.95]) as quantiles,
        max(score) as highest
    from long_form
    group by score_name
)
select
    score_name,
    pair_count,
    (select count(*) from pairs) - pair_count as missing_count,
    lowest,
    quantiles[1] as p05,
    quantiles[2] as p15,
    quantiles[3] as p25,
    quantiles[4] as p50,
    quantiles[5] as p75,
    quantiles[6] as p95,
    highest,
    above_zero / pair_count as above_zero_share,
    wilson_low(above_zero, pair_count) as above_zero_low,
    wilson_high(above_zero, pair_count) as above_zero_high
from counted
order by score_name
