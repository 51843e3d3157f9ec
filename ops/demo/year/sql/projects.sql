-- What projects shows, relation by relation; the first column is the key (read by systems.py).

-- relation: customers
select id, number, name, email, status
from clients;

-- relation: invoices
select id, customer_id, issued_on::text, due_on::text, net_amount::text,
       tax_amount::text, total_amount::text, paid_amount::text, status
from work_invoices;

-- relation: payments
select p.id, p.paid_on::text, p.amount::text, string_agg(a.invoice_id || '=' ||
       a.amount, ' ' order by a.invoice_id collate "C")
from shown_payments p
join shown_allocations a on a.payment_id = p.id
group by p.id, p.paid_on, p.amount;

-- relation: projects
select project_id::text, code, name, customer_id::text
from projects;

-- relation: work
select work_item_id::text, project_id::text, title, coalesce(hours::text, ''), coalesce(done_on::text, '')
from work_items;

-- relation: employees
select id, name, user_name, email, job_title, department, status
from members;

-- relation: month_end
select w.project_id::text, sum(i.total_amount)::text, sum(coalesce(a.paid, 0))::text
from work_items w
join work_invoices i on i.id = 'INV-W' || w.work_item_id
left join (select invoice_id, sum(amount) as paid
from shown_allocations
group by 1) a on a.invoice_id = i.id
group by 1;
