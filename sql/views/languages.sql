-- One row = one language (ISO 639-1; null: too short to tell, or undecided). How many pairs are asked in it, and how are they answered?
-- Reads: pairs (PAIR), dropped (DROPPED). Writes: language, published_count, dropped_count, and of the published pairs:
-- chosen_differs_count, rejected_differs_count (an answer in another known language).
with judged as (
    select true as is_published, prompt_language, chosen_language, rejected_language
    from pairs
    union all
    select false as is_published, prompt_language, chosen_language, rejected_language
    from dropped
)
select
    prompt_language as language,
    count(*) filter (where is_published) as published_count,
    count(*) filter (where not is_published) as dropped_count,
    count(*) filter (where is_published and chosen_language <> prompt_language) as chosen_differs_count,
    count(*) filter (where is_published and rejected_language <> prompt_language) as rejected_differs_count
from judged
group by prompt_language
order by published_count + dropped_count desc, language nulls last
