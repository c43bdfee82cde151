-- One row, where both were computed. How far does the sentence encoder's proxy rank pairs as the causal model does?
-- Reads: pairs (PAIR). Writes: pair_count (published pairs with both), spearman (rank correlation of ches_ln and ches_encoder_ln, -1 to
-- 1, ties averaged; null where either is constant) with its 95 % interval (Bonett & Wright), riskiest_shared_share (0 to 1: of the 5 %
-- with the highest ches_ln, those also among the 5 % with the highest ches_encoder_ln; chance is 0.05) with its interval (Wilson).
with scored as (
    select pair_id, ches_ln, ches_encoder_ln
    from pairs
    where ches_ln is not null and ches_encoder_ln is not null
),
ranked as (
    select
        (rank() over (order by ches_ln) + count(*) over (order by ches_ln)) / 2 as model_rank,
        (rank() over (order by ches_encoder_ln) + count(*) over (order by ches_encoder_ln)) / 2 as encoder_rank,
        row_number() over (order by ches_ln desc, pair_id) <= ceil(0.05 * count(*) over ()) as riskiest_by_model,
        row_number() over (order by ches_encoder_ln desc, pair_id) <= ceil(0.05 * count(*) over ()) as riskiest_by_encoder
    from scored
),
counted as (
    select
        count(*) as pair_count,
        corr(model_rank, encoder_rank) as found,
        count(*) filter (where riskiest_by_model) as riskiest,
        count(*) filter (where riskiest_by_model and riskiest_by_encoder) as shared
    from ranked
    having count(*) > 0
),
told as (
    select pair_count, case when isfinite(found) then found end as spearman, riskiest, shared
    from counted
)
select
    pair_count,
    spearman,
    spearman_low(spearman, pair_count) as spearman_low,
    spearman_high(spearman, pair_count) as spearman_high,
    shared / riskiest as riskiest_shared_share,
    wilson_low(shared, riskiest) as riskiest_shared_low,
    wilson_high(shared, riskiest) as riskiest_shared_high
from told
