-- What reporting shows, relation by relation; the first column is the key (read by systems.py).

-- relation: customers
select id, number, name, email, status
from customers;

-- relation: products
select id, name, unit_price::text, tax_rate::text
from products;

-- relation: orders
select o.id, o.number, o.customer_id, o.status, string_agg(l.line_number || ':' || l.product_id || ':' ||
       l.quantity || 'x' || l.unit_price || '-' || l.discount_rate, ' '
       order by l.line_number)
from orders o
join order_lines l on l.order_id = o.id
group by o.id;

-- relation: stock
select product_id, on_hand::text, reserved::text
from stock_levels;

-- relation: deliveries
select id, order_id, status, coalesce((delivered_at at time zone 'UTC')::date::text, '')
from deliveries
where status <> 'CANCELLED';

-- relation: invoices
select id, customer_id, issued_on::text, due_on::text, net_amount::text,
       tax_amount::text, total_amount::text, paid_amount::text, status
from invoices;

-- relation: invoice_lines
select invoice_id, string_agg(net_amount || '+' || tax_amount, ' ' order by
       line_number)
from invoice_lines
group by 1;

-- relation: payments
select p.id, p.paid_on::text, p.amount::text, string_agg(a.invoice_id || '=' ||
       a.amount, ' ' order by a.invoice_id collate "C")
from payments p
join allocations a on a.payment_id = p.id
group by p.id, p.paid_on, p.amount;

-- relation: projects
select id, code, name, customer_id
from projects;

-- relation: work
select id, project_id, title, coalesce(spent_hours::text, ''), coalesce(due_on::text, '')
from work_items;

-- relation: tickets
select id, title, customer_id, status, spent_hours::text
from tickets;

-- relation: employees
select id, name, user_name, email, job_title, department, status
from employees;

-- relation: month_end
select 'sold ' || to_char(issued_on, 'YYYY-MM'), count(*)::text, sum(net_amount)::text,
       sum(tax_amount)::text, sum(total_amount)::text
from invoices
group by 1
union all
select 'owed by ' || customer_id, sum(total_amount - paid_amount)::text, null, null, null
from invoices
group by customer_id having sum(total_amount - paid_amount) <> 0
union all
select 'owed', coalesce(sum(total_amount - paid_amount), 0)::text, null, null, null
from invoices;

-- relation: balances
select customer_id, paid::text, payments::text from balances;
