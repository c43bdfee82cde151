-- One row = one source, kind of annotator, or all. How far do annotators agree?
-- Reads: statistics (STATISTIC). Writes: subject_kind, subject, pairs (with votes of two annotators), alpha (Krippendorff's, -1 to 1, 0
-- is chance; ties are a verdict of their own) with its 95 % interval, agreement (chance that two annotators who both chose a side
-- chose the same, 0 to 1) with its interval and pairs, note (null alpha: why it cannot be known).
select
    alpha.subject_kind,
    alpha.subject,
    alpha.n as pairs,
    alpha.value as alpha,
    alpha.low as alpha_low,
    alpha.high as alpha_high,
    decided.n as decided_pairs,
    decided.value as agreement,
    decided.low as agreement_low,
    decided.high as agreement_high,
    coalesce(alpha.note, decided.note) as note
from statistics as alpha
left join statistics as decided
    on alpha.subject_kind = decided.subject_kind and alpha.subject = decided.subject and decided.statistic = 'agreement_decided'
where alpha.statistic = 'alpha' and alpha.subject_kind in ('dataset', 'source', 'annotator_kind')
order by alpha.subject_kind = 'source', alpha.subject_kind = 'annotator_kind', alpha.subject
