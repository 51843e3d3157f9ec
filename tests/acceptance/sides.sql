-- A database from which others are looked at: each as a foreign schema (source, accounting, reporting).

create extension postgres_fdw;

-- The CRM's own types, since a foreign table's columns are of local types.
create type account_stage as enum ('lead', 'active', 'on hold', 'closed');
create type order_state as enum ('quote', 'placed', 'confirmed', 'shipped', 'done', 'cancelled');

create procedure open_side(side text, host text, port text, database text, username text) language plpgsql as $$
begin
    execute format(
        'create server %I foreign data wrapper postgres_fdw options (host %L, port %L, dbname %L, fetch_size ''5000'')',
        side, host, port, database);
    execute format('create user mapping for current_user server %I options (user %L)', side, username);
end
$$;

create procedure look_at_sides() language plpgsql as $$
declare
    side text;
begin
    for side in select srvname from pg_foreign_server loop
        execute format('drop schema if exists %I cascade', side);
        execute format('create schema %I', side);
        execute format('import foreign schema public from server %I into %I', side, side);
    end loop;
end
$$;
