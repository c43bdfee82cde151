-- One row = one kind of move. How many prompts left the split that they had in the version before, because clusters joined?
-- No rows: every known prompt kept its split. `prefine diff` lists the pairs.
-- Reads: stages (the manifest's counts). Writes: before, now (splits), prompts.
with moves as (
    select unnest(reasons) as move
    from stages
    where stage = 'keep splits (prompts)'
)
select split_part(move.reason, ' to ', 1) as before, split_part(move.reason, ' to ', 2) as now, move.rows as prompts
from moves
order by before, now
