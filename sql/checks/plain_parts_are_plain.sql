-- Each row returned is one pair in the files of a split that is of another split, or that a plain trainer would mangle: it belongs into
-- `other`. A plain trainer takes a prompt that ends with the user's turn, and two answers of one assistant message each, without tools.
-- Reads: train, validation, test (PAIR).
with placed as (
    select pair_id, 'train' as file, split, prompt, chosen, rejected, tools
    from train
    union all
    select pair_id, 'validation' as file, split, prompt, chosen, rejected, tools
    from validation
    union all
    select pair_id, 'test' as file, split, prompt, chosen, rejected, tools
    from test
),
problems as (
    select
        pair_id,
        file,
        case
            when split <> file then 'is of the split ' || split
            when coalesce(prompt[-1].role, '') <> 'user' then 'its prompt does not end with the user''s turn'
            when len(chosen) <> 1 or len(rejected) <> 1 then 'an answer is not one message'
            when chosen[1].role <> 'assistant' or rejected[1].role <> 'assistant' then 'an answer is not the assistant''s'
            when tools is not null or chosen[1].tool_calls is not null or rejected[1].tool_calls is not null then 'has tools'
        end as problem
    from placed
)
select pair_id, file, problem
from problems
where problem is not null
order by pair_id
