-- One row = one pair with votes for both of its answers. Where do annotators disagree?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: pair_id, fate, sources, votes_chosen, votes_rejected, votes_tie,
-- p_chosen, agreement; the most contested first.
with judged as (
    select pair_id, 'published' as fate, sources, votes_chosen, votes_rejected, votes_tie, p_chosen, agreement
    from pairs
    union all
    select pair_id, 'dropped' as fate, sources, votes_chosen, votes_rejected, votes_tie, p_chosen, agreement
    from dropped
)
select pair_id, fate, sources, votes_chosen, votes_rejected, votes_tie, p_chosen, agreement
from judged
where votes_chosen > 0 and votes_rejected > 0
order by p_chosen, pair_id
