-- The ERP: stock, deliveries and invoices are its own; parties, articles, orders, work and payments come from their
-- owners. What happens to them is the ERP's own business code, as any ERP has it: triggers that only look at what is
-- there, so that it doesn't matter in which order, how often and in which transactions records arrive.
create table parties (
    party_id integer primary key, party_no text not null, name varchar(80) not null, email text, country char(2),
    terms integer not null, blocked boolean not null
);
create table articles (
    sku text primary key, name text not null, price numeric(12, 2) not null, tax_rate numeric(5, 4) not null
);
create table sales_orders (
    sales_order_id bigint primary key, order_no text not null, party_id integer not null references parties, state text not null,
    ordered_on date not null, currency char(3) not null
);
create table sales_order_lines (
    sales_order_id bigint not null, line_no integer not null, sku text not null references articles, quantity numeric(12, 3) not null,
    unit_price numeric(12, 2) not null, discount numeric(5, 4) not null, tax_rate numeric(5, 4) not null,
    primary key (sales_order_id, line_no)
);
create table work (
    work_item_id bigint primary key, project_id bigint not null, party_id integer not null references parties, title text not null,
    hours numeric(8, 2), status text not null, done_on date
);
create table payments (payment_id text primary key, paid_on date not null, amount numeric(12, 2) not null);
create table payment_allocations (
    payment_id text not null, line_no integer not null, invoice_no text not null, amount numeric(12, 2) not null,
    primary key (payment_id, line_no)
);
create index on payment_allocations (invoice_no);

create table stock (
    sku text primary key, on_hand numeric(12, 3) not null default 0, reserved numeric(12, 3) not null default 0
);
create table receipts (
    receipt_no text primary key, sku text not null, quantity numeric(12, 3) not null, received_on date not null
);
create table hourly_rates (valid_from date primary key, rate numeric(8, 2) not null, tax_rate numeric(5, 4) not null);
create table deliveries (
    delivery_no text primary key, sales_order_id bigint not null unique, party_id integer not null,
    status text not null, shipped_on date
);
create table delivery_lines (
    delivery_no text not null references deliveries, line_no integer not null, sku text not null,
    quantity numeric(12, 3) not null, primary key (delivery_no, line_no)
);
create table invoices (
    invoice_no text primary key, sales_order_id bigint unique, work_item_id bigint unique, party_id integer not null,
    issued_on date not null, due_on date not null, currency char(3) not null, net numeric(12, 2) not null,
    tax numeric(12, 2) not null, total numeric(12, 2) not null, paid numeric(12, 2) not null, status text not null
);
create table invoice_lines (
    invoice_no text not null references invoices, line_no integer not null, sku text, text text not null,
    quantity numeric(12, 3) not null, unit_price numeric(12, 2) not null, net numeric(12, 2) not null,
    tax numeric(12, 2) not null, project_id bigint, primary key (invoice_no, line_no)
);

create function goods_in() returns trigger language plpgsql as $$
begin
    insert into stock values (new.sku, new.quantity, 0)
        on conflict (sku) do update set on_hand = stock.on_hand + new.quantity;
    return null;
end $$;
create trigger goods_in after insert on receipts for each row execute function goods_in();

-- A confirmed order reserves stock and plans a delivery, once; a cancelled one gives the stock back.
create function plan_delivery(id bigint) returns void language plpgsql as $$
declare o sales_orders; d deliveries;
begin
    select * into o from sales_orders where sales_order_id = id;
    select * into d from deliveries where sales_order_id = id;
    if o.state = 'CONFIRMED' and d.delivery_no is null
       and exists (select from sales_order_lines where sales_order_id = id) then
        insert into deliveries values ('DL-' || o.order_no, id, o.party_id, 'planned', null);
        insert into delivery_lines
            select 'DL-' || o.order_no, line_no, sku, quantity from sales_order_lines where sales_order_id = id;
        insert into stock select sku, 0, sum(quantity) from sales_order_lines where sales_order_id = id group by sku
            on conflict (sku) do update set reserved = stock.reserved + excluded.reserved;
    elsif o.state = 'CANCELLED' and d.status = 'planned' then
        update deliveries set status = 'cancelled' where delivery_no = d.delivery_no;
        update stock set reserved = reserved - l.quantity
            from (select sku, sum(quantity) as quantity from delivery_lines where delivery_no = d.delivery_no
                  group by sku) l
            where l.sku = stock.sku;
    end if;
end $$;
create function order_came() returns trigger language plpgsql as $$
begin
    perform plan_delivery(new.sales_order_id);
    return null;
end $$;
create constraint trigger order_came after insert or update on sales_orders deferrable initially deferred
    for each row execute function order_came();
create constraint trigger line_came after insert or update on sales_order_lines deferrable initially deferred
    for each row execute function order_came();

create function settle(number text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtext(number));  -- a payment and its invoice may come at the same moment
    update invoices set paid = p.paid,
        status = case when p.paid >= total then 'paid' when p.paid > 0 then 'part' else 'open' end
    from (select coalesce(sum(amount), 0) as paid from payment_allocations where invoice_no = number) p
    where invoice_no = number and invoices.paid is distinct from p.paid;
end $$;

-- The warehouse ships: stock leaves, and the invoice is raised.
create function ship(number text, on_day date) returns void language plpgsql as $$
declare d deliveries; o sales_orders; terms integer; bill text;
begin
    select * into strict d from deliveries where delivery_no = number for update;
    if d.status <> 'planned' then
        raise exception 'delivery % is %', number, d.status;
    end if;
    select * into strict o from sales_orders where sales_order_id = d.sales_order_id;
    select p.terms into terms from parties p where party_id = d.party_id;
    update deliveries set status = 'shipped', shipped_on = on_day where delivery_no = number;
    update stock set on_hand = on_hand - l.quantity, reserved = reserved - l.quantity
        from (select sku, sum(quantity) as quantity from delivery_lines where delivery_no = number group by sku) l
        where l.sku = stock.sku;
    bill := 'INV-' || o.order_no;
    insert into invoices values (bill, o.sales_order_id, null, d.party_id, on_day, on_day + coalesce(terms, 30),
                                 o.currency, 0, 0, 0, 0, 'open');
    insert into invoice_lines
        select bill, line_no, sku, sku, quantity, unit_price, net, round(net * tax_rate, 2), null
        from (select *, round(quantity * unit_price * (1 - discount), 2) as net from sales_order_lines
              where sales_order_id = o.sales_order_id) l;
    update invoices set net = s.net, tax = s.tax, total = s.net + s.tax
        from (select sum(net) as net, sum(tax) as tax from invoice_lines where invoice_no = bill) s
        where invoice_no = bill;
    perform settle(bill);
end $$;

-- Completed work becomes an invoice, once.
create function work_came() returns trigger language plpgsql as $$
declare bill text := 'INV-W' || new.work_item_id; r hourly_rates; amount numeric(12, 2); terms integer;
begin
    if new.status = 'RESOLVED' and not exists (select from invoices where invoice_no = bill) then
        select * into strict r from hourly_rates where valid_from <= new.done_on order by valid_from desc limit 1;
        select p.terms into terms from parties p where party_id = new.party_id;
        amount := round(new.hours * r.rate, 2);
        insert into invoices values (bill, null, new.work_item_id, new.party_id, new.done_on,
            new.done_on + coalesce(terms, 30), 'EUR', amount, round(amount * r.tax_rate, 2),
            amount + round(amount * r.tax_rate, 2), 0, 'open');
        insert into invoice_lines values (bill, 1, null, new.title, new.hours, r.rate, amount,
            round(amount * r.tax_rate, 2), new.project_id);
        perform settle(bill);
    end if;
    return null;
end $$;
create trigger work_came after insert or update on work for each row execute function work_came();

create function allocation_came() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' then
        perform settle(old.invoice_no);
    end if;
    if tg_op <> 'DELETE' then
        perform settle(new.invoice_no);
    end if;
    return null;
end $$;
create constraint trigger allocation_came after insert or update or delete on payment_allocations
    deferrable initially deferred for each row execute function allocation_came();
