-- One row = one judge that was asked. Does it follow the order, agree with itself, and fall for answers that say nothing?
-- Reads: statistics (STATISTIC). Writes: judge, questions, answered_share (of them with a verdict), first_share (of its verdicts that are no
-- tie: for the answer shown first; 0.5 is no bias) and its 95 % interval, consistent_share (of the pairs asked about in both orders: the
-- same verdict) and its interval, self_consistency (of a question's samples: as most of them say), agrees_with_scores (of its verdicts: as
-- its own scores say), tie_share, key_wins (of the probes: an answer without content wins) and its interval, meta_rejected (of its
-- verdicts: thrown out by the meta judge), failures (of questions, and how many, the most frequent first); all shares are 0 to 1.
with said as (
    select statistic, subject, value, low, high, n
    from statistics
    where subject_kind = 'judge'
),
failed as (
    select
        subject,
        string_agg(substr(statistic, length('judge_failed:') + 1) || ' ' || value::bigint, ', ' order by value desc, statistic) as failures
    from said
    where starts_with(statistic, 'judge_failed:')
    group by subject
),
told as (
    select
        subject,
        max(n) filter (where statistic = 'judge_answered') as questions,
        max(value) filter (where statistic = 'judge_answered') as answered_share,
        max(value) filter (where statistic = 'judge_first_share') as first_share,
        max(low) filter (where statistic = 'judge_first_share') as first_low,
        max(high) filter (where statistic = 'judge_first_share') as first_high,
        max(value) filter (where statistic = 'judge_consistent_share') as consistent_share,
        max(low) filter (where statistic = 'judge_consistent_share') as consistent_low,
        max(high) filter (where statistic = 'judge_consistent_share') as consistent_high,
        max(value) filter (where statistic = 'judge_self_consistency') as self_consistency,
        max(value) filter (where statistic = 'judge_agrees_with_scores') as agrees_with_scores,
        max(value) filter (where statistic = 'judge_tie_share') as tie_share,
        max(value) filter (where statistic = 'judge_key_wins') as key_wins,
        max(low) filter (where statistic = 'judge_key_wins') as key_wins_low,
        max(high) filter (where statistic = 'judge_key_wins') as key_wins_high,
        max(value) filter (where statistic = 'judge_meta_rejected') as meta_rejected
    from said
    group by subject
)
select
    told.subject as judge,
    told.questions,
    told.answered_share,
    told.first_share,
    told.first_low,
    told.first_high,
    told.consistent_share,
    told.consistent_low,
    told.consistent_high,
    told.self_consistency,
    told.agrees_with_scores,
    told.tie_share,
    told.key_wins,
    told.key_wins_low,
    told.key_wins_high,
    told.meta_rejected,
    failed.failures
from told
left join failed on told.subject = failed.subject
order by judge
