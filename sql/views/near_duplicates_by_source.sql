-- One row = one source with near duplicates. How many of its pairs were merged into others, and how many stay because they say something else?
-- Reads: pairs (PAIR), dropped (DROPPED); a pair counts in each of its sources, one that counts the votes of others in theirs too.
-- Writes: source, merged_count (pairs whose votes another pair counts), merged_votes, lowest_score (0 to 1; null: none merged),
-- counting_count (pairs that count votes of merged ones), conflict_count (pairs with a near duplicate that says something else
-- or was judged the other way, or that count the votes of such a pair).
with judged as (
    select sources, n_votes, near_duplicates, near_duplicate_conflict, false as is_merged, null::double as score
    from pairs
    union all
    select
        sources,
        n_votes,
        near_duplicates,
        near_duplicate_conflict,
        stage = 'deduplicate' and reason = 'near_duplicate' as is_merged,
        score
    from dropped
),
by_source as (
    select * exclude (sources), unnest(sources) as source
    from judged
    where is_merged or near_duplicates > 0 or near_duplicate_conflict
)
select
    source,
    count(*) filter (where is_merged) as merged_count,
    coalesce(sum(n_votes) filter (where is_merged), 0)::bigint as merged_votes,
    min(score) filter (where is_merged) as lowest_score,
    count(*) filter (where near_duplicates > 0) as counting_count,
    count(*) filter (where near_duplicate_conflict) as conflict_count
from by_source
group by source
order by source
