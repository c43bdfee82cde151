-- What messages say, as one text of at most 300 characters; ` ...` where it goes on.
create or replace macro whole_text(messages) as array_to_string(list_transform(messages, lambda message: message.content), chr(10));
create or replace macro readable(messages) as
    case when length(whole_text(messages)) > 300 then left(whole_text(messages), 300) || ' ...' else whole_text(messages) end;
-- The same, of at most 1,200 characters: samples that people read from start to end.
create or replace macro excerpt(messages) as
    case when length(whole_text(messages)) > 1200 then left(whole_text(messages), 1200) || ' ...' else whole_text(messages) end;
