-- One row = one estimate of how often a source's labels, or single votes, are wrong. Do the ways to estimate noise agree?
-- Reads: statistics (STATISTIC). Writes: source, statistic (vote_noise_repeated of single votes, label_noise_... of labels), value (0 to
-- 0.5, or 1 from scores; null: cannot be told), low, high (95 %), n, note.
select subject as source, statistic, value, low, high, n, note
from statistics
where subject_kind in ('source', 'dataset') and (statistic like 'label_noise%' or statistic like 'vote_noise%')
order by subject_kind, subject, statistic
