-- One row = one source. What did the length bias cost?
-- Reads: pairs (PAIR), statistics (STATISTIC); a pair counts in each of its sources. Writes: source, pair_count, coefficient (log-odds
-- that length adds to winning, beside the models' quality where they are named) with its 95 % interval, certainty_lost (probability:
-- mean p_chosen less its mean when what length explains is taken out; below 0 where the shorter answers win) with its interval
-- (normal), surplus_count (the fewest pairs that must go before the longer answer wins as often as the shorter one), note (what the
-- coefficient rests on, or why it is not known). `balance_cost` says what rules that balance a signal did cost.
with by_source as (
    select unnest(sources) as source, chars_gap, p_chosen - p_chosen_length_controlled as lost
    from pairs
),
counted as (
    select
        source,
        count(*) as pair_count,
        avg(lost) as certainty_lost,
        stddev_samp(lost) / sqrt(count(*)) as deviation,
        abs(count(*) filter (where chars_gap > 0) - count(*) filter (where chars_gap < 0)) as surplus_count
    from by_source
    group by source
),
lengths as (
    select subject as source, value, low, high, note
    from statistics
    where statistic = 'length_coefficient' and subject_kind = 'source'
)
select
    counted.source,
    counted.pair_count,
    lengths.value as coefficient,
    lengths.low as coefficient_low,
    lengths.high as coefficient_high,
    counted.certainty_lost,
    counted.certainty_lost - 1.959963985 * counted.deviation as certainty_lost_low,
    counted.certainty_lost + 1.959963985 * counted.deviation as certainty_lost_high,
    counted.surplus_count,
    lengths.note
from counted
left join lengths on counted.source = lengths.source
order by counted.certainty_lost desc, counted.source
