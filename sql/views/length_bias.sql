-- One row = one source. How often is the longer answer (in characters) the chosen one?
-- Reads: pairs (PAIR); a pair counts in each of its sources. Writes: source, pair_count, same_length_count,
-- longer_chosen_share (0 to 1, of the pairs whose lengths differ; null when there are none) with its 95 % interval (Wilson),
-- median_chars_gap.
with by_source as (
    select unnest(sources) as source, chars_gap
    from pairs
),
counted as (
    select
        source,
        count(*) as pair_count,
        count(*) filter (where chars_gap = 0) as same_length_count,
        count(*) filter (where chars_gap <> 0) as differing,
        count(*) filter (where chars_gap > 0) as longer_chosen,
        median(chars_gap) as median_chars_gap
    from by_source
    group by source
)
select
    source,
    pair_count,
    same_length_count,
    longer_chosen / nullif(differing, 0) as longer_chosen_share,
    wilson_low(longer_chosen, differing) as longer_chosen_low,
    wilson_high(longer_chosen, differing) as longer_chosen_high,
    median_chars_gap
from counted
order by source
