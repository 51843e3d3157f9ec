-- A table's unique indexes: whether one always holds (complete, of columns alone, for every row), and its columns.
select i.indisvalid and i.indpred is null and i.indexprs is null,
       c.relname::text,
       case when not i.indisvalid then 'is not valid'
            when i.indpred is not null then 'holds for some rows only'
            when i.indexprs is not null then 'is of an expression' end,
       array(select a.attname::text from unnest(i.indkey::smallint[]) with ordinality as k (num, place)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
             where k.place <= i.indnkeyatts)
from pg_index i
join pg_class c on c.oid = i.indexrelid
where i.indrelid = %s and i.indisunique
order by c.relname
