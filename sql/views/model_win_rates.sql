-- One row = one model whose answers were compared with another's. Which models win, whoever they were compared with?
-- Reads: statistics (STATISTIC). Writes: model, comparison_count (a prompt and an opponent, with votes that enter consensus), win_rate (ties
-- half), borda (mean share of votes won against each opponent), bradley_terry (chance to beat another model drawn at random, by the fitted
-- strengths), each from 0 to 1 with its 95 % interval over prompts, note; the strongest by Bradley-Terry first.
select
    subject as model,
    max(n) filter (where statistic = 'win_rate') as comparison_count,
    max(value) filter (where statistic = 'win_rate') as win_rate,
    max(low) filter (where statistic = 'win_rate') as win_rate_low,
    max(high) filter (where statistic = 'win_rate') as win_rate_high,
    max(value) filter (where statistic = 'win_rate_borda') as borda,
    max(low) filter (where statistic = 'win_rate_borda') as borda_low,
    max(high) filter (where statistic = 'win_rate_borda') as borda_high,
    max(value) filter (where statistic = 'win_rate_bradley_terry') as bradley_terry,
    max(low) filter (where statistic = 'win_rate_bradley_terry') as bradley_terry_low,
    max(high) filter (where statistic = 'win_rate_bradley_terry') as bradley_terry_high,
    max(note) filter (where statistic = 'win_rate_bradley_terry') as note
from statistics
where subject_kind = 'model' and statistic in ('win_rate', 'win_rate_borda', 'win_rate_bradley_terry')
group by subject
order by bradley_terry desc, model
