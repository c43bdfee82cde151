-- The 95 % interval of a share: `hits` of `trials` (Wilson 1927). Null without trials. 60 of 100: 0.502 and 0.691.
create or replace macro wilson_low(hits, trials) as
    case when trials > 0 then
        greatest(0.0, (hits + 1.92072941 - 1.959963985 * sqrt(hits * (trials - hits) / trials + 0.960364705)) / (trials + 3.84145882))
    end;
create or replace macro wilson_high(hits, trials) as
    case when trials > 0 then
        least(1.0, (hits + 1.92072941 + 1.959963985 * sqrt(hits * (trials - hits) / trials + 0.960364705)) / (trials + 3.84145882))
    end;
