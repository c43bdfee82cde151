-- One row = one flag. How many pairs does it mark, among those published and those dropped?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: flag, published_count, dropped_count.
with judged as (
    select
        true as is_published, conflict, near_duplicate_conflict, near_duplicates, identical_answers, chosen_empty, rejected_empty,
        chosen_degenerate, rejected_degenerate,
        chosen_injected, rejected_injected, chosen_repeated_prompts, rejected_repeated_prompts, chosen_repetitive,
        rejected_repetitive, chosen_copies_prompt, rejected_copies_prompt, chosen_truncated_tail, rejected_truncated_tail,
        chosen_role_marker, rejected_role_marker, language_mismatch, prompt_personal, chosen_personal, rejected_personal,
        prompt_secrets, chosen_secrets, rejected_secrets
    from pairs
    union all
    select
        false as is_published, conflict, near_duplicate_conflict, near_duplicates, identical_answers, chosen_empty, rejected_empty,
        chosen_degenerate, rejected_degenerate,
        chosen_injected, rejected_injected, chosen_repeated_prompts, rejected_repeated_prompts, chosen_repetitive,
        rejected_repetitive, chosen_copies_prompt, rejected_copies_prompt, chosen_truncated_tail, rejected_truncated_tail,
        chosen_role_marker, rejected_role_marker, language_mismatch, prompt_personal, chosen_personal, rejected_personal,
        prompt_secrets, chosen_secrets, rejected_secrets
    from dropped
),
counted as (
    select
        is_published,
        count(*) filter (where conflict) as conflict,
        count(*) filter (where near_duplicate_conflict) as near_duplicate_conflict,
        count(*) filter (where near_duplicates > 0) as near_duplicates,
        count(*) filter (where identical_answers) as identical_answers,
        count(*) filter (where chosen_empty) as chosen_empty,
        count(*) filter (where rejected_empty) as rejected_empty,
        count(*) filter (where chosen_degenerate) as chosen_degenerate,
        count(*) filter (where rejected_degenerate) as rejected_degenerate,
        count(*) filter (where chosen_injected) as chosen_injected,
        count(*) filter (where rejected_injected) as rejected_injected,
        count(*) filter (where chosen_repeated_prompts > 0) as chosen_repeated_prompts,
        count(*) filter (where rejected_repeated_prompts > 0) as rejected_repeated_prompts,
        count(*) filter (where chosen_repetitive) as chosen_repetitive,
        count(*) filter (where rejected_repetitive) as rejected_repetitive,
        count(*) filter (where chosen_copies_prompt) as chosen_copies_prompt,
        count(*) filter (where rejected_copies_prompt) as rejected_copies_prompt,
        count(*) filter (where chosen_truncated_tail) as chosen_truncated_tail,
        count(*) filter (where rejected_truncated_tail) as rejected_truncated_tail,
        count(*) filter (where chosen_role_marker) as chosen_role_marker,
        count(*) filter (where rejected_role_marker) as rejected_role_marker,
        count(*) filter (where language_mismatch) as language_mismatch,
        count(*) filter (where prompt_personal > 0) as prompt_personal,
        count(*) filter (where chosen_personal > 0) as chosen_personal,
        count(*) filter (where rejected_personal > 0) as rejected_personal,
        count(*) filter (where prompt_secrets > 0) as prompt_secrets,
        count(*) filter (where chosen_secrets > 0) as chosen_secrets,
        count(*) filter (where rejected_secrets > 0) as rejected_secrets
    from judged
    group by is_published
),
long_form as (
    unpivot counted on columns(* exclude (is_published)) into name flag value pair_count
)
select
    flag,
    coalesce(sum(pair_count) filter (where is_published), 0)::bigint as published_count,
    coalesce(sum(pair_count) filter (where not is_published), 0)::bigint as dropped_count
from long_form
group by flag
order by published_count + dropped_count desc, flag
