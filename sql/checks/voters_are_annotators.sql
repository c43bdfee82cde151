-- Each row returned is one annotator whose row in annotators is missing, has another number of votes than its judgements, does not say
-- why its votes do not count, or lies outside its own interval.
-- Reads: judgements (JUDGEMENT; copies do not vote), annotators (ANNOTATOR), in a version that tells of annotators.
with voters as (
    select
        case when annotator_id = 'unnamed' then 'unnamed ' || source else annotator_id end as annotator_id,
        annotator_kind,
        count(*) as judgement_count
    from judgements
    where not is_copy
    group by all
),
problems as (
    select
        coalesce(voters.annotator_id, annotators.annotator_id) as annotator_id,
        coalesce(voters.annotator_kind, annotators.annotator_kind) as annotator_kind,
        case
            when annotators.annotator_id is null then 'has no row'
            when annotators.votes <> coalesce(voters.judgement_count, 0) then 'has another number of votes'
            when not annotators.admitted and annotators.reason is null then 'is not admitted without a reason'
            when not (annotators.accuracy between annotators.accuracy_low and annotators.accuracy_high) then 'is outside its interval'
        end as problem
    from voters
    full join annotators on voters.annotator_id = annotators.annotator_id and voters.annotator_kind = annotators.annotator_kind
    where exists (select annotator_id from annotators)
)
select annotator_id, annotator_kind, problem
from problems
where problem is not null
order by annotator_id, annotator_kind
