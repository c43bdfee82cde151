-- One row = one kind of rationale of one writer. Can a reader tell the label from it, and does it give the label away?
-- Reads: rationales (RATIONALE). Writes: kind, generator (all who stated one are `stated`), read_count (rationales with a reader's verdict
-- in both orders), recovered_share (of these: both verdicts are for chosen) and its 95 % interval, steady_share (of these: the same verdict
-- in both orders), against_share (of these: both are for rejected), own_count (writers who were not told the label and gave a verdict),
-- own_right_share (of these: for chosen), leak_share (of the rationales looked at: names the better answer outright); shares are 0 to 1.
with counted as (
    select
        kind,
        case kind when 'stated' then 'stated' else generator end as generator,
        count(*) filter (where recovered_first is not null and recovered_second is not null) as read_count,
        count(*) filter (where recovered_first = 'chosen' and recovered_second = 'chosen') as recovered_count,
        count(*) filter (where recovered_first = recovered_second) as steady_count,
        count(*) filter (where recovered_first = 'rejected' and recovered_second = 'rejected') as against_count,
        count(own_verdict) filter (where not label_shown) as own_count,
        count(*) filter (where own_verdict = 'chosen' and not label_shown) as own_right_count,
        count(leaks_label) as leak_known_count,
        count(*) filter (where leaks_label) as leak_count
    from rationales
    group by all
)
select
    kind,
    generator,
    read_count,
    recovered_count / nullif(read_count, 0) as recovered_share,
    wilson_low(recovered_count, read_count) as recovered_low,
    wilson_high(recovered_count, read_count) as recovered_high,
    steady_count / nullif(read_count, 0) as steady_share,
    against_count / nullif(read_count, 0) as against_share,
    own_count,
    own_right_count / nullif(own_count, 0) as own_right_share,
    leak_count / nullif(leak_known_count, 0) as leak_share
from counted
where read_count > 0 or own_count > 0 or leak_known_count > 0
order by kind, generator
