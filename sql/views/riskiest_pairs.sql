-- One row = one published pair with a CHES score. In which pairs would DPO be likeliest to lower the chosen answer's probability?
-- Reads: pairs (PAIR). Writes: rank (1: the highest score), pair_id, score_name (ches_ln of a causal model; ches_encoder_ln, a proxy,
-- where no pair has one), score (comparable within one model only), prompt (its last turn), chosen, rejected (texts of at most 300
-- characters), sources; the highest score first.
with scored as (
    select
        case when count(ches_ln) over () > 0 then 'ches_ln' else 'ches_encoder_ln' end as score_name,
        case when count(ches_ln) over () > 0 then ches_ln else ches_encoder_ln end as score,
        pair_id,
        prompt,
        chosen,
        rejected,
        sources
    from pairs
)
select
    row_number() over (order by score desc, pair_id) as rank,
    pair_id,
    score_name,
    score,
    readable(prompt[-1:]) as prompt,
    readable(chosen) as chosen,
    readable(rejected) as rejected,
    sources
from scored
where score is not null
order by rank
