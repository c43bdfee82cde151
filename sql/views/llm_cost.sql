-- One row = one thing that a language model was asked for: rationales by one template, or a judge's verdicts. What did it cost?
-- Reads: rationales (RATIONALE), statistics (STATISTIC). Writes: asked_for (the template, or judge), who (the model that wrote, or the
-- judge), answer_count (rationales, accepted or not, with the requests that checked them; a judge's questions), usable_count (accepted;
-- with a verdict), input_tokens, output_tokens, cost (money of the endpoints' prices, failed requests included), cost_per_usable; the
-- dearest first. Answers that an earlier run paid for are counted too.
with written as (
    select
        template as asked_for,
        generator as who,
        count(*) as answer_count,
        count(*) filter (where accepted) as usable_count,
        sum(input_tokens)::bigint as input_tokens,
        sum(output_tokens)::bigint as output_tokens,
        sum(cost) as cost
    from rationales
    where template is not null
    group by template, generator
),
judged as (
    select
        'judge' as asked_for,
        subject as who,
        max(n) filter (where statistic = 'judge_cost') as answer_count,
        round(max(value * n) filter (where statistic = 'judge_answered'))::bigint as usable_count,
        max(value) filter (where statistic = 'judge_input_tokens')::bigint as input_tokens,
        max(value) filter (where statistic = 'judge_output_tokens')::bigint as output_tokens,
        max(value) filter (where statistic = 'judge_cost') as cost
    from statistics
    where subject_kind = 'judge'
    group by subject
),
both_kinds as (
    from written
    union all
    from judged
)
select
    asked_for,
    who,
    answer_count,
    usable_count,
    input_tokens,
    output_tokens,
    cost,
    cost / nullif(usable_count, 0) as cost_per_usable
from both_kinds
order by cost desc, asked_for, who
