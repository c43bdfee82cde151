-- One row = the prompts or the chosen answers of one stage of a run. How many of a sample are effectively different?
-- Reads: statistics (STATISTIC). Writes: texts (prompts or chosen), stage, sampled_count (texts in the sample; stages of other sizes cannot
-- be compared), vendi_q0_1, vendi_q0_5, vendi_q1, vendi_q2, vendi_qinf (1 to sampled_count: low orders see rare texts, high ones common).
with scores as (
    select
        subject as stage,
        n,
        value,
        split_part(statistic, '_', 2) as texts,
        split_part(statistic, '_q', 2) as score_order
    from statistics
    where statistic like 'vendi\_%' escape '\'
)
select
    texts,
    stage,
    max(n) as sampled_count,
    max(value) filter (where score_order = '0.1') as vendi_q0_1,
    max(value) filter (where score_order = '0.5') as vendi_q0_5,
    max(value) filter (where score_order = '1') as vendi_q1,
    max(value) filter (where score_order = '2') as vendi_q2,
    max(value) filter (where score_order = 'inf') as vendi_qinf
from scores
group by texts, stage
order by texts desc, list_position(['before rules', 'before selection', 'after selection'], stage)
