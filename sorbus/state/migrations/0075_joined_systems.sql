-- The systems that a person has accepted to be joined: nothing is read from others, or delivered to them. Null: an
-- earlier release asked, which the merge fills with the systems that it finds in the map.

alter table joined_type add column systems text[];
