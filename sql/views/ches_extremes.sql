-- One row = one of the five published pairs with the highest, or the lowest, CHES score. What do they look like?
-- Reads: pairs (PAIR). Writes: extreme (highest or lowest; a pair is shown once), rank (1: the highest score), pair_count (with a
-- score), pair_id, score_name (ches_ln, or ches_encoder_ln where no pair has one), score, prompt (its last turn), chosen, rejected
-- (texts of at most 300 characters). `riskiest_pairs` has all.
with scored as (
    select
        case when count(ches_ln) over () > 0 then 'ches_ln' else 'ches_encoder_ln' end as score_name,
        case when count(ches_ln) over () > 0 then ches_ln else ches_encoder_ln end as score,
        pair_id
    from pairs
),
ranked as (
    select
        score_name,
        score,
        pair_id,
        row_number() over (order by score desc, pair_id) as rank,
        count(*) over () as pair_count
    from scored
    where score is not null
)
select
    case when ranked.rank <= 5 then 'highest' else 'lowest' end as extreme,
    ranked.rank,
    ranked.pair_count,
    ranked.pair_id,
    ranked.score_name,
    ranked.score,
    readable(pairs.prompt[-1:]) as prompt,
    readable(pairs.chosen) as chosen,
    readable(pairs.rejected) as rejected
from ranked
inner join pairs on ranked.pair_id = pairs.pair_id
where ranked.rank <= 5 or ranked.rank > ranked.pair_count - 5
order by ranked.rank
