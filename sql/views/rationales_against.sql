-- One row = one pair whose rationale argues for the rejected answer. Which labels does nobody manage to explain?
-- Reads: pairs (PAIR), dropped (DROPPED), rationales (RATIONALE). Writes: pair_id, is_published, p_chosen, noise_score,
-- rationale_noise_score (both P(label wrong)), rationale_verdict (share of the readers' verdicts for chosen), kind, generator and text (at
-- most 300 characters) of a rationale that argues so, sources; the likeliest to be wrong first.
with flagged as (
    select true as is_published, pair_id, p_chosen, noise_score, rationale_noise_score, rationale_verdict, sources
    from pairs
    where rationale_against
    union all
    select false as is_published, pair_id, p_chosen, noise_score, rationale_noise_score, rationale_verdict, sources
    from dropped
    where rationale_against
),
arguing as (
    select pair_id, arg_min({'kind': kind, 'generator': generator, 'text': text}, rationale_id) as said
    from rationales
    where text is not null and 'rejected' in (own_verdict, recovered_first, recovered_second)
    group by pair_id
)
select
    flagged.pair_id,
    flagged.is_published,
    flagged.p_chosen,
    flagged.noise_score,
    flagged.rationale_noise_score,
    flagged.rationale_verdict,
    arguing.said.kind as kind,
    arguing.said.generator as generator,
    case when length(arguing.said.text) > 300 then left(arguing.said.text, 300) || ' ...' else arguing.said.text end as text,
    flagged.sources
from flagged
left join arguing on flagged.pair_id = arguing.pair_id
order by coalesce(flagged.rationale_noise_score, flagged.noise_score) desc nulls last, flagged.pair_id
