-- Each row returned is one statistic that is no number, lies outside what a share or probability can be, or has bounds the wrong way round
-- or only one of them; or that stands there twice.
-- Reads: statistics (STATISTIC).
with judged as (
    select
        statistic,
        subject_kind,
        subject,
        value,
        low,
        high,
        case
            when not (isfinite(coalesce(value, 0)) and isfinite(coalesce(low, 0)) and isfinite(coalesce(high, 0))) then 'is no number'
            when (low is null) <> (high is null) then 'has one bound'
            when low > high then 'has its bounds the wrong way round'
            when unit in ('share', 'share of votes', 'share of pairs', 'probability')
                and (least(value, low) < 0 or greatest(value, high) > 1)
                then 'is no share'
            when n < 0 then 'rests on less than nothing'
            when note is null and unit <> 'sentence'
                and count(*) over (partition by statistic, subject_kind, subject) > 1
                then 'stands there twice'
        end as problem
    from statistics
)
select statistic, subject_kind, subject, value, low, high, problem
from judged
where problem is not null
order by statistic, subject_kind, subject
