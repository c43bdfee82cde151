-- One row = one source and one trait of style in which its answers differ. What do votes follow besides quality?
-- Reads: statistics (STATISTIC). Writes: source, trait (length, markdown ...), tau (-1 to 1: how much more often the answer with more
-- of it wins than loses) with its 95 % interval and pairs, coefficient (log-odds, all traits together) with its interval. Those
-- whose tau is surely not 0 come first, the strongest first.
select
    tau.subject as source,
    replace(tau.statistic, 'tau_', '') as trait,
    tau.n as pairs,
    tau.value as tau,
    tau.low as tau_low,
    tau.high as tau_high,
    coefficient.value as coefficient,
    coefficient.low as coefficient_low,
    coefficient.high as coefficient_high
from statistics as tau
left join statistics as coefficient
    on tau.subject = coefficient.subject and coefficient.statistic = replace(tau.statistic, 'tau_', 'coefficient_')
    and coefficient.subject_kind = 'source'
where tau.subject_kind = 'source' and tau.statistic like 'tau\_%' escape '\' and tau.value is not null
order by (tau.low > 0 or tau.high < 0) desc, greatest(tau.low, -tau.high) desc, source, trait
