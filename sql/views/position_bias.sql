-- One row = one kind of annotator. Do they vote for the answer shown first?
-- Reads: annotators (ANNOTATOR). Writes: annotator_kind, annotators (those of whom it is known which answer stood first), votes (theirs),
-- first_share (0 to 1, of their votes for a side, the mean weighted by votes; 0.5 is no bias), prefer_first, prefer_second (annotators
-- whose 95 % interval lies on one side of one half).
select
    annotator_kind,
    count(*) as annotators,
    sum(votes)::bigint as votes,
    sum(first_share * votes) / nullif(sum(votes), 0) as first_share,
    count(*) filter (where first_share_low > 0.5) as prefer_first,
    count(*) filter (where first_share_high < 0.5) as prefer_second
from annotators
where first_share is not null
group by annotator_kind
order by annotator_kind
