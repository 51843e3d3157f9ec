-- What erp shows, relation by relation; the first column is the key (read by systems.py).

-- relation: customers
select party_id::text, party_no, name, email, blocked::text
from parties;

-- relation: products
select sku, name, price::text, tax_rate::text
from articles;

-- relation: orders
select o.sales_order_id::text, order_no, party_id::text, state, string_agg(l.line_no || ':' || l.sku || ':' ||
       l.quantity || 'x' || l.unit_price || '-' || l.discount, ' ' order
       by l.line_no)
from sales_orders o
join sales_order_lines l using (sales_order_id)
group by o.sales_order_id;

-- relation: stock
select sku, on_hand::text, reserved::text
from stock;

-- relation: deliveries
select delivery_no, sales_order_id::text, upper(status), coalesce(shipped_on::text, '')
from deliveries
where status <> 'cancelled';

-- relation: invoices
select invoice_no, party_id::text, issued_on::text, due_on::text, net::text,
       tax::text, total::text, paid::text, case status when 'open' then
       'SENT' when 'part' then 'PARTLY_PAID' else 'PAID' end
from invoices;

-- relation: invoice_lines
select invoice_no, string_agg(net || '+' || tax, ' ' order by line_no)
from invoice_lines
group by 1;

-- relation: payments
select p.payment_id, p.paid_on::text, p.amount::text, string_agg(a.invoice_no || '=' ||
       a.amount, ' ' order by a.invoice_no collate "C")
from payments p
join payment_allocations a on a.payment_id = p.payment_id
group by p.payment_id, p.paid_on, p.amount;

-- relation: work
select work_item_id::text, project_id::text, title, coalesce(hours::text, ''), coalesce(done_on::text, '')
from work;

-- relation: month_end
select 'sold ' || to_char(issued_on, 'YYYY-MM'), count(*)::text, sum(net)::text,
       sum(tax)::text, sum(total)::text
from invoices
group by 1
union all
select 'owed by ' || party_id::text, sum(total - paid)::text, null, null, null
from invoices
group by party_id::text having sum(total - paid) <> 0
union all
select 'owed', coalesce(sum(total - paid), 0)::text, null, null, null
from invoices;
