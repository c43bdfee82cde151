-- One row = one kind of annotator in one source. How many judge there, and how reliable are they?
-- Reads: judgements (JUDGEMENT), annotators (ANNOTATOR); copies do not vote. Writes: source, annotator_kind, annotators (the unnamed
-- ones are one), votes, median_votes (an annotator's, in this source), accuracy_p05, accuracy_p50, accuracy_p95 (of the annotators', 0
-- to 1), unproven (annotators who may be no better than a coin: the 95 % interval of their accuracy holds one half), worse_than_chance
-- (it ends below).
with voters as (
    select
        source,
        annotator_kind,
        case when annotator_id = 'unnamed' then 'unnamed ' || source else annotator_id end as annotator_id,
        count(*) as votes
    from judgements
    where not is_copy
    group by all
)
select
    voters.source,
    voters.annotator_kind,
    count(*) as annotators,
    sum(voters.votes)::bigint as votes,
    median(voters.votes) as median_votes,
    quantile_cont(annotators.accuracy, 0.05) as accuracy_p05,
    quantile_cont(annotators.accuracy, 0.5) as accuracy_p50,
    quantile_cont(annotators.accuracy, 0.95) as accuracy_p95,
    count(*) filter (where annotators.accuracy_low < 0.5 and annotators.accuracy_high >= 0.5) as unproven,
    count(*) filter (where annotators.accuracy_high < 0.5) as worse_than_chance
from voters
left join annotators on voters.annotator_id = annotators.annotator_id and voters.annotator_kind = annotators.annotator_kind
group by voters.source, voters.annotator_kind
order by voters.source, voters.annotator_kind
