-- What crm shows, relation by relation; the first column is the key (read by systems.py).

-- relation: products
select id, name, unit_price::text, tax_rate::text
from catalogue;

-- relation: stock
select product_id, on_hand::text, reserved::text
from availability;

-- relation: deliveries
select id, order_id, status, coalesce((delivered_at at time zone 'UTC')::date::text, '')
from shown_deliveries
where status <> 'CANCELLED';

-- relation: invoices
select id, customer_id, issued_on::text, due_on::text, net_amount::text,
       tax_amount::text, total_amount::text, paid_amount::text, status
from shown_invoices;

-- relation: payments
select p.id, p.paid_on::text, p.amount::text, string_agg(a.invoice_id || '=' ||
       a.amount, ' ' order by a.invoice_id collate "C")
from shown_payments p
join shown_allocations a on a.payment_id = p.id
group by p.id, p.paid_on, p.amount;

-- relation: month_end
select 'sold ' || to_char(issued_on, 'YYYY-MM'), count(*)::text, sum(net_amount)::text,
       sum(tax_amount)::text, sum(total_amount)::text
from shown_invoices
group by 1
union all
select 'owed by ' || customer_id, sum(total_amount - paid_amount)::text, null, null, null
from shown_invoices
group by customer_id having sum(total_amount - paid_amount) <> 0
union all
select 'owed', coalesce(sum(total_amount - paid_amount), 0)::text, null, null, null
from shown_invoices;

-- relation: balances
select customer_id, paid::text, payments::text from balances;
