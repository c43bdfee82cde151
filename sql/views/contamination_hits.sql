-- One row = one pair, published or dropped, whose prompt hits a benchmark's. Which pairs would let a model train on the test?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: pair_id, is_published, contaminated_by (benchmark:row), contamination (share of shared
-- word n-grams or cosine, 0 to 1), prompt (its last turn, at most 300 characters), sources; the closest first.
with judged as (
    select pair_id, true as is_published, contaminated_by, contamination, prompt, sources
    from pairs
    union all
    select pair_id, false as is_published, contaminated_by, contamination, prompt, sources
    from dropped
)
select pair_id, is_published, contaminated_by, contamination, readable(prompt[-1:]) as prompt, sources
from judged
where contaminated_by is not null
order by contamination desc, pair_id
