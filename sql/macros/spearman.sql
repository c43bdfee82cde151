-- The 95 % interval of Spearman's rank correlation `r` of `n` pairs (Bonett & Wright 2000). Null below 4 pairs. 0.5 of 103: 0.329 and 0.639.
create or replace macro spearman_low(r, n) as
    case when n > 3 then case when abs(r) >= 1 then sign(r) else tanh(atanh(r) - 1.959963985 * sqrt((1 + r * r / 2) / (n - 3))) end end;
create or replace macro spearman_high(r, n) as
    case when n > 3 then case when abs(r) >= 1 then sign(r) else tanh(atanh(r) + 1.959963985 * sqrt((1 + r * r / 2) / (n - 3))) end end;
