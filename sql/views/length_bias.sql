-- One row = one source. How often is the longer answer (in characters) the chosen one?
-- Reads: pairs (PAIR); a pair counts in each of its sources. Writes: source, pair_count, same_length_count,
-- longer_chosen_share (0 to 1, of the pairs whose lengths differ; null when there are none), median_chars_gap.
with by_source as (
    select unnest(sources) as source, chars_gap
    from pairs
)
select
    source,
    count(*) as pair_count,
    count(*) filter (where chars_gap = 0) as same_length_count,
    avg((chars_gap > 0)::int) filter (where chars_gap <> 0) as longer_chosen_share,
    median(chars_gap) as median_chars_gap
from by_source
group by source
order by source
