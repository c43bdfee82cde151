-- One row = one judge or reward model that voted. Whose votes count, and why not?
-- Reads: annotators (ANNOTATOR). Writes: annotator_id, annotator_kind, votes, admitted (the votes count beside others'), reason (why
-- not), accuracy with its 95 % interval, gold_votes (on pairs that at least three humans decided) and gold_agreement with them and its
-- interval, both_orders (pairs judged in both orders), consistent (of these), first_share (votes for the answer shown first), note.
select
    annotator_id,
    annotator_kind,
    votes,
    admitted,
    reason,
    accuracy,
    accuracy_low,
    accuracy_high,
    gold_votes,
    gold_agreement,
    gold_agreement_low,
    gold_agreement_high,
    both_orders,
    consistent,
    first_share,
    first_share_low,
    first_share_high,
    note
from annotators
where annotator_kind <> 'human'
order by annotator_kind, annotator_id
