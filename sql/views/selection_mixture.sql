-- One row = one group (source, language or topic) of the pairs that selection saw. What share of them was asked for, and what is there?
-- Reads: statistics (STATISTIC). Writes: grouped_by, group_name, pairs_before, share_before (of what the rules left), pairs_after,
-- share_after (of what selection kept; 0 to 1), share_requested (null: none; of `min_share` the least), gap (share_after -
-- share_requested), note. Empty where nothing was selected.
select
    subject_kind as grouped_by,
    subject as group_name,
    max(n) filter (where statistic = 'mixture_before') as pairs_before,
    max(value) filter (where statistic = 'mixture_before') as share_before,
    max(n) filter (where statistic = 'mixture_after') as pairs_after,
    max(value) filter (where statistic = 'mixture_after') as share_after,
    max(value) filter (where statistic = 'mixture_requested') as share_requested,
    max(value) filter (where statistic = 'mixture_after') - max(value) filter (where statistic = 'mixture_requested') as gap,
    max(note) filter (where statistic = 'mixture_before') as note
from statistics
where statistic like 'mixture\_%' escape '\'
group by subject_kind, subject
order by subject_kind, share_after desc nulls last, subject
