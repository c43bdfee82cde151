-- One row = one kind of rationale. For how many of the pairs that it was tried for is there an accepted one?
-- Reads: rationales (RATIONALE), pairs (PAIR). Writes: kind, pair_count (with a rationale of the kind, accepted or not), accepted_count
-- (with an accepted one), accepted_share (0 to 1) and its 95 % interval, published_count (published pairs with an accepted one),
-- published_share (of all published pairs).
with tried as (
    select kind, pair_id, bool_or(accepted) as is_accepted
    from rationales
    group by kind, pair_id
),
counted as (
    select
        tried.kind,
        count(*) as pair_count,
        count(*) filter (where tried.is_accepted) as accepted_count,
        count(*) filter (where tried.is_accepted and pairs.pair_id is not null) as published_count
    from tried
    left join pairs on tried.pair_id = pairs.pair_id
    group by tried.kind
)
select
    kind,
    pair_count,
    accepted_count,
    accepted_count / pair_count as accepted_share,
    wilson_low(accepted_count, pair_count) as accepted_low,
    wilson_high(accepted_count, pair_count) as accepted_high,
    published_count,
    published_count / nullif((select count(*) from pairs), 0) as published_share
from counted
order by kind
