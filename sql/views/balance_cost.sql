-- One row = one rule that balances a signal, or the weights that do. How strong was the bias, what is left of it, and what did that cost?
-- Reads: statistics (STATISTIC). Writes: rule, pairs (that differ in the signal), before, matched (of what the rule keeps), weighted
-- (of all, weighted instead of dropped): the signal's coefficient in the log-odds of being chosen, each with its 95 % interval;
-- lost_matched (share of those pairs that was dropped) with its interval, lost_weighted (share of their worth, as if dropped).
select
    subject as rule,
    max(n) filter (where statistic = 'balance_coefficient_before') as pairs,
    max(value) filter (where statistic = 'balance_coefficient_before') as before,
    max(low) filter (where statistic = 'balance_coefficient_before') as before_low,
    max(high) filter (where statistic = 'balance_coefficient_before') as before_high,
    max(value) filter (where statistic = 'balance_coefficient_matched') as matched,
    max(low) filter (where statistic = 'balance_coefficient_matched') as matched_low,
    max(high) filter (where statistic = 'balance_coefficient_matched') as matched_high,
    max(value) filter (where statistic = 'balance_coefficient_weighted') as weighted,
    max(low) filter (where statistic = 'balance_coefficient_weighted') as weighted_low,
    max(high) filter (where statistic = 'balance_coefficient_weighted') as weighted_high,
    max(value) filter (where statistic = 'balance_lost_matched') as lost_matched,
    max(low) filter (where statistic = 'balance_lost_matched') as lost_matched_low,
    max(high) filter (where statistic = 'balance_lost_matched') as lost_matched_high,
    max(value) filter (where statistic = 'balance_lost_weighted') as lost_weighted
from statistics
where subject_kind = 'rule' and statistic like 'balance\_%' escape '\'
group by subject
order by subject
