-- One row = one pair whose votes another pair counts. What was merged as a near duplicate, into what, and how close was it?
-- Reads: dropped (DROPPED), pairs (PAIR). Writes: pair_id, witness_pair_id (which counts the votes), is_published (of the witness),
-- detail (by cosine or jaccard), score, threshold (both 0 to 1), votes (merged), sources; the least close first.
select
    dropped.pair_id,
    dropped.witness_pair_id,
    pairs.pair_id is not null as is_published,
    dropped.detail,
    dropped.score,
    dropped.threshold,
    dropped.n_votes as votes,
    dropped.sources
from dropped
left join pairs on dropped.witness_pair_id = pairs.pair_id
where dropped.stage = 'deduplicate' and dropped.reason = 'near_duplicate'
order by dropped.score, dropped.pair_id
