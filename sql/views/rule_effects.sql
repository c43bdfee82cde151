-- One row = one reason for which pairs left, or all published pairs. What kind of pairs does a rule take away?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: stage (null: published), reason, pair_count, top_source and its share of the pairs (0 to 1),
-- longer_chosen_share (0 to 1, of the pairs whose lengths differ) with its 95 % interval (Wilson), chars_gap_mean (characters, chosen less
-- rejected), gap_difference (that mean less the published pairs') with its 95 % interval (Welch; null: below two pairs), differs (the interval
-- leaves 0 out), ches_name with its p05, p50, p95 (of a causal model; of the encoder where no pair has one), noise_mean (P(label wrong)).
with judged as (
    select null::varchar as stage, 'published' as reason, pair_id, sources, chars_gap, ches_ln, ches_encoder_ln, noise_score
    from pairs
    union all
    select stage, reason, pair_id, sources, chars_gap, ches_ln, ches_encoder_ln, noise_score
    from dropped
),
counted as (
    select
        stage,
        reason,
        count(*) as pair_count,
        count(*) filter (where chars_gap <> 0) as differing,
        count(*) filter (where chars_gap > 0) as longer_chosen,
        avg(chars_gap) as chars_gap_mean,
        var_samp(chars_gap) / count(*) as mean_variance,
        count(ches_ln) as ches_count,
        quantile_disc(ches_ln, [0.05, 0.5, 0.95]) as ches,
        quantile_disc(ches_encoder_ln, [0.05, 0.5, 0.95]) as ches_encoder,
        avg(noise_score) as noise_mean
    from judged
    group by stage, reason
),
by_source as (
    select stage, reason, source, count(*) as of_source
    from (select stage, reason, unnest(sources) as source from judged)
    group by stage, reason, source
),
top_sources as (
    select stage, reason, arg_max(source, (of_source, source)) as top_source, max(of_source) as top_count
    from by_source
    group by stage, reason
),
compared as (
    select
        counted.*,
        top_sources.top_source,
        top_sources.top_count,
        counted.chars_gap_mean - published.chars_gap_mean as gap_difference,
        1.959963985 * sqrt(counted.mean_variance + published.mean_variance) as half,
        (select coalesce(sum(ches_count), 0) from counted) > 0 as is_causal
    from counted
    left join top_sources on counted.reason = top_sources.reason and counted.stage is not distinct from top_sources.stage
    left join (select chars_gap_mean, mean_variance from counted where stage is null) as published on counted.stage is not null
)
select
    stage,
    reason,
    pair_count,
    top_source,
    top_count / pair_count as top_source_share,
    longer_chosen / nullif(differing, 0) as longer_chosen_share,
    wilson_low(longer_chosen, differing) as longer_chosen_low,
    wilson_high(longer_chosen, differing) as longer_chosen_high,
    chars_gap_mean,
    gap_difference,
    gap_difference - half as gap_difference_low,
    gap_difference + half as gap_difference_high,
    abs(gap_difference) > half as differs,
    case when is_causal then 'ches_ln' else 'ches_encoder_ln' end as ches_name,
    (case when is_causal then ches else ches_encoder end)[1] as ches_p05,
    (case when is_causal then ches else ches_encoder end)[2] as ches_p50,
    (case when is_causal then ches else ches_encoder end)[3] as ches_p95,
    noise_mean
from compared
order by stage is not null, pair_count desc, stage, reason
