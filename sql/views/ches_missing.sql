-- One row = one reason in one backend. Why do pairs have no CHES score?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: backend (causal_lm or encoder), reason (left_earlier: the pair had left before it would
-- have been scored), published_count, dropped_count.
with judged as (
    select true as is_published, ches_missing as causal_lm, ches_encoder_missing as encoder
    from pairs
    union all
    select false as is_published, ches_missing as causal_lm, ches_encoder_missing as encoder
    from dropped
),
long_form as (
    unpivot judged on causal_lm, encoder into name backend value reason
)
select
    backend,
    reason,
    count(*) filter (where is_published) as published_count,
    count(*) filter (where not is_published) as dropped_count
from long_form
group by backend, reason
order by backend, published_count desc, dropped_count desc, reason
