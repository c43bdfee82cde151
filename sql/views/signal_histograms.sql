-- One row = one bin of one signal. How is it distributed over the pairs that stayed, and over those that left?
-- Reads: pairs (PAIR), dropped (DROPPED) without merged near duplicates. Twenty-four bins of equal width span the signal's 1st to 99th
-- percentile over both (a single bin where these are equal); what lies beyond is in the first or last bin. Writes: signal, bin (from 0),
-- low, high (the bin's ends, in the signal's own unit), published_count, dropped_count; bins without pairs are left out.
with judged as (
    select
        true as is_published, cosine_chosen_rejected, cosine_prompt_chosen, cosine_prompt_rejected, bmas, edit_distance, answers_jaccard,
        chosen_tokens, rejected_tokens, tokens_gap, agreement, vote_entropy, posterior_entropy, p_chosen, margin, rm_mean,
        peer_probability, noise_score, ches_ln, ches_encoder_ln, difficulty, weight
    from pairs
    union all
    select
        false as is_published, cosine_chosen_rejected, cosine_prompt_chosen, cosine_prompt_rejected, bmas, edit_distance, answers_jaccard,
        chosen_tokens, rejected_tokens, tokens_gap, agreement, vote_entropy, posterior_entropy, p_chosen, margin, rm_mean,
        peer_probability, noise_score, ches_ln, ches_encoder_ln, difficulty, weight
    from dropped
    where reason <> 'near_duplicate'
),
numbers as (
    select is_published, columns(* exclude (is_published))::double
    from judged
),
long_form as (
    unpivot numbers on columns(* exclude (is_published)) into name signal value score
),
ranges as (
    select signal, quantile_disc(score, 0.01) as lowest, quantile_disc(score, 0.99) as highest
    from long_form
    where isfinite(score)
    group by signal
),
binned as (
    select
        long_form.signal,
        long_form.is_published,
        ranges.lowest,
        (ranges.highest - ranges.lowest) / 24 as width,
        case
            when ranges.highest = ranges.lowest then 0
            else greatest(0, least(23, floor(24 * (long_form.score - ranges.lowest) / (ranges.highest - ranges.lowest))))
        end::int as bin
    from long_form
    inner join ranges on long_form.signal = ranges.signal
    where isfinite(long_form.score)
)
select
    signal,
    bin,
    lowest + bin * width as low,
    lowest + (bin + 1) * width as high,
    count(*) filter (where is_published) as published_count,
    count(*) filter (where not is_published) as dropped_count
from binned
group by signal, bin, lowest, width
order by signal, bin
