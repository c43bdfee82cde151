-- One row = one benchmark whose prompts were found. How many pairs hold one, and did they leave?
-- Reads: pairs (PAIR), dropped (DROPPED); a pair counts once, at its surest hit. Writes: benchmark, published_count, dropped_count
-- (for that or another reason), prompt_count (different ones), lowest_score (0 to 1: share of words, or cosine).
with judged as (
    select true as is_published, contamination, contaminated_by
    from pairs
    union all
    select false as is_published, contamination, contaminated_by
    from dropped
)
select
    split_part(contaminated_by, ':', 1) as benchmark,
    count(*) filter (where is_published) as published_count,
    count(*) filter (where not is_published) as dropped_count,
    count(distinct contaminated_by) as prompt_count,
    min(contamination) as lowest_score
from judged
where contaminated_by is not null
group by benchmark
order by benchmark
