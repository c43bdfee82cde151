-- One row = one dropped pair. Why was it dropped, and what did it say?
-- Reads: dropped (DROPPED). Writes: pair_id, stage, reason, score, threshold, detail, witness_pair_id (the pair it repeats), votes (for
-- chosen : for rejected : ties), prompt (its last turn), chosen, rejected (texts of at most 300 characters), sources.
select
    pair_id,
    stage,
    reason,
    score,
    threshold,
    detail,
    witness_pair_id,
    votes_chosen || ' : ' || votes_rejected || ' : ' || votes_tie as votes,
    readable(prompt[-1:]) as prompt,
    readable(chosen) as chosen,
    readable(rejected) as rejected,
    sources
from dropped
order by stage, reason, pair_id
