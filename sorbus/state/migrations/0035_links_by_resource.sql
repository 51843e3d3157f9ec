-- Links, questions about duplicates and conflicts are each of one resource of a system: a customer may be a company and
-- a contact there. '' marks rows from before that: `sorbus.identity.adopt` gives them their resource, from the map.

alter table crosswalk add column resource text not null default '';
-- whether the external record may be another data type's, too (a flow with `shared: true`)
alter table crosswalk add column shared boolean not null default false;
alter table crosswalk drop constraint crosswalk_pkey;
alter table crosswalk add primary key (system, data_type, id, resource);
drop index crosswalk_external;
create unique index crosswalk_external on crosswalk (system, data_type, resource, external_id) where state <> 'gone';
-- A record of a resource belongs to one record of ours, whatever its data type.
create unique index crosswalk_owner on crosswalk (system, resource, external_id)
    where state = 'linked' and not shared and resource <> '';

alter table duplicate_candidates add column resource text not null default '';
alter table duplicate_candidates drop constraint duplicate_candidates_system_data_type_id_key;
alter table duplicate_candidates add unique (system, data_type, resource, id);

alter table duplicate_apart add column resource text not null default '';
alter table duplicate_apart drop constraint duplicate_apart_pkey;
alter table duplicate_apart add primary key (system, data_type, resource, id, external_id);

alter table duplicate_merged add column resource text not null default '';
alter table duplicate_merged drop constraint duplicate_merged_pkey;
alter table duplicate_merged add primary key (system, data_type, resource, external_id);

alter table conflict add column resource text not null default '';
drop index conflict_standing;
create unique index conflict_standing on conflict (system, data_type, resource, id, field)
    where state in ('open', 'overwrite', 'keep');
drop index conflict_rewritten;
create index conflict_rewritten on conflict (system, data_type, resource) where state = 'rewritten';
