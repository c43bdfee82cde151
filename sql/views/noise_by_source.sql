-- One row = one estimate of how often a source's labels are wrong. How noisy is source X, and which epsilon does rDPO get?
-- Reads: statistics (STATISTIC). Writes: source, statistic (epsilon is the one to use; label_noise_... are what it rests on), value
-- (0 to 1; null: cannot be told), low, high (95 %), n, note.
select subject as source, statistic, value, low, high, n, note
from statistics
where subject_kind = 'source' and (statistic = 'epsilon' or statistic like 'label_noise%')
order by source, statistic <> 'epsilon', statistic
