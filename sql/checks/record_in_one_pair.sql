-- Each row returned is one published record that is not in exactly its own pair's `records`, or one record of a published
-- pair whose ledger row does not say so.
-- Reads: pairs (PAIR), ledger (LEDGER).
with members as (
    select pair_id, unnest(records) as record_id
    from pairs
),
member_counts as (
    select record_id, min(pair_id) as pair_id, count(*) as pair_count
    from members
    group by record_id
),
published as (
    select record_id, pair_id
    from ledger
    where fate = 'published'
)
select
    coalesce(published.record_id, member_counts.record_id) as record_id,
    published.pair_id as ledger_pair_id,
    member_counts.pair_id as first_pair_id,
    coalesce(member_counts.pair_count, 0) as pair_count
from published
full outer join member_counts on published.record_id = member_counts.record_id
where published.pair_id is distinct from member_counts.pair_id or member_counts.pair_count is distinct from 1
order by record_id
