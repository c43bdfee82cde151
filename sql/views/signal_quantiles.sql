-- One row = one signal. How is it distributed over the published pairs?
-- Reads: pairs (PAIR). Writes: signal, pair_count (with a value), lowest, p05, p50, p95, highest (in the signal's own unit).
with signals as (
    select
        cosine_chosen_rejected,
        cosine_prompt_chosen,
        cosine_prompt_rejected,
        chosen_tokens::double as chosen_tokens,
        rejected_tokens::double as rejected_tokens,
        tokens_gap::double as tokens_gap,
        agreement,
        vote_entropy,
        p_chosen,
        margin::double as margin
    from pairs
),
long_form as (
    unpivot signals on columns(*) into name signal value score
)
select
    signal,
    count(*) as pair_count,
    min(score) as lowest,
    quantile_disc(score, 0.05) as p05,
    quantile_disc(score, 0.5) as p50,
    quantile_disc(score, 0.95) as p95,
    max(score) as highest
from long_form
group by signal
order by signal
