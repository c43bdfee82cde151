-- One row = one stage of the run, in order. Where did the rows go?
-- Reads: stages (the manifest's counts). Writes: stage, rows_in, kept, dropped, top_reason (null: nothing left there).
select stage, rows_in, kept, dropped, reasons[1].reason as top_reason
from stages
order by position
