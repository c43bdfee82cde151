-- One row = one range of length gaps. How often does the reference model rank pairs wrongly, and is that length alone?
-- Reads: pairs (PAIR). Writes: shortest_gap, longest_gap (tokens of the causal model, chosen less rejected, both ends included; null: no
-- end), pair_count (with log-probabilities), misranked_share (0 to 1: the rejected answer is the likelier one, difficulty above 0) with
-- its 95 % interval (Wilson), median_difficulty (nats).
with bins (shortest_gap, longest_gap) as (
    values (null, -201), (-200, -51), (-50, -11), (-10, 10), (11, 50), (51, 200), (201, null)
),
measured as (
    select chosen_lm_tokens - rejected_lm_tokens as gap, difficulty
    from pairs
    where difficulty is not null
),
counted as (
    select
        bins.shortest_gap,
        bins.longest_gap,
        count(*) as pair_count,
        count(*) filter (where measured.difficulty > 0) as misranked,
        median(measured.difficulty) as median_difficulty
    from measured
    inner join bins
        on measured.gap >= coalesce(bins.shortest_gap, measured.gap) and measured.gap <= coalesce(bins.longest_gap, measured.gap)
    group by bins.shortest_gap, bins.longest_gap
)
select
    shortest_gap,
    longest_gap,
    pair_count,
    misranked / pair_count as misranked_share,
    wilson_low(misranked, pair_count) as misranked_low,
    wilson_high(misranked, pair_count) as misranked_high,
    median_difficulty
from counted
order by shortest_gap nulls first
