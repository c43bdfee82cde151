-- One row = one score and one measure of the two answers. Does the score follow length or likeness?
-- Reads: pairs (PAIR). Writes: score_name, measure (chosen_tokens, rejected_tokens, tokens_gap: tokens of the embedding model;
-- edit_distance: 0 to 1), pair_count (with the score), spearman (rank correlation, -1 to 1, ties averaged; null where either is
-- constant) with its 95 % interval (Bonett & Wright).
with scored as (
    select 'causal_lm' as backend, ches as whole, ches_ln as by_token, chosen_tokens, rejected_tokens, tokens_gap, edit_distance
    from pairs
    where ches_ln is not null
    union all
    select 'encoder', ches_encoder, ches_encoder_ln, chosen_tokens, rejected_tokens, tokens_gap, edit_distance
    from pairs
    where ches_encoder_ln is not null
),
-- The sum of the first and the last place that equal values share: twice their mean rank.
ranked as (
    select
        backend,
        rank() over a + count(*) over a as whole,
        rank() over b + count(*) over b as by_token,
        rank() over c + count(*) over c as chosen_tokens,
        rank() over d + count(*) over d as rejected_tokens,
        rank() over e + count(*) over e as tokens_gap,
        rank() over f + count(*) over f as edit_distance
    from scored
    window
        a as (partition by backend order by whole),
        b as (partition by backend order by by_token),
        c as (partition by backend order by chosen_tokens),
        d as (partition by backend order by rejected_tokens),
        e as (partition by backend order by tokens_gap),
        f as (partition by backend order by edit_distance)
),
by_score as (
    unpivot ranked on whole, by_token into name scale value score_rank
),
correlated as (
    select
        case when backend = 'encoder' then 'ches_encoder' else 'ches' end || case when scale = 'by_token' then '_ln' else '' end as score_name,
        count(*) as pair_count,
        corr(score_rank, chosen_tokens) as chosen_tokens,
        corr(score_rank, rejected_tokens) as rejected_tokens,
        corr(score_rank, tokens_gap) as tokens_gap,
        corr(score_rank, edit_distance) as edit_distance
    from by_score
    group by backend, scale
),
told as (
    select score_name, measure, pair_count, case when isfinite(found) then found end as spearman
    from (unpivot correlated on chosen_tokens, rejected_tokens, tokens_gap, edit_distance into name measure value found)
)
select
    score_name,
    measure,
    pair_count,
    spearman,
    spearman_low(spearman, pair_count) as spearman_low,
    spearman_high(spearman, pair_count) as spearman_high
from told
order by score_name, measure
