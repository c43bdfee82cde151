-- One row = one source, or all. How noisy is source X, and which epsilon does rDPO get?
-- Reads: statistics (STATISTIC). Writes: source, epsilon (share of wrong labels, 0 to 0.5; null: it cannot be told) with its 95 %
-- interval, n (pairs it rests on), note (what it rests on). `noise_estimates` has every estimate.
select subject as source, value as epsilon, low as epsilon_low, high as epsilon_high, n, note
from statistics
where statistic = 'epsilon' and subject_kind in ('source', 'dataset')
order by subject_kind, subject
