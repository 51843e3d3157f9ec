-- Of a field that two systems changed in turn until it was held: the other system. Null: people's conflicts.

alter table conflict add column in_turn_with text;
create index conflict_loops on conflict (data_type) where state = 'open' and in_turn_with is not null;
