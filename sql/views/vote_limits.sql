-- One row = one sentence. What can the votes not tell, and where would one consensus hide several views?
-- Reads: statistics (STATISTIC). Writes: question, subjects (the sources of whom this is said, or all), answer (a number; null: cannot
-- be told), note.
with said as (
    select
        subject,
        case statistic when 'camps' then 'how many camps of annotators?' else 'what is not identified?' end as question,
        value as answer,
        note
    from statistics
    where statistic in ('identifiability', 'camps')
)
select question, string_agg(subject, ', ' order by subject) as subjects, answer, note
from said
group by question, answer, note
order by question desc, answer desc nulls last, subjects, note
