-- What accounting shows, relation by relation; the first column is the key (read by systems.py).

-- relation: customers
select debtor_no, account, name, email, if(blocked, 'true', 'false')
from debtors;

-- relation: invoices
select id, customer_id, issued_on, due_on, net_amount, tax_amount,
       total_amount, paid_amount, status
from invoices;

-- relation: invoice_lines
select invoice_id, group_concat(concat(net_amount, '+', tax_amount)
       order by line_number separator ' ')
from invoice_lines
group by 1;

-- relation: payments
select e.entry_no, booked_on, e.amount, group_concat(concat(invoice_no, '=', a.amount) order by cast(invoice_no as binary) separator ' ')
from bank_entries e
join bank_allocations a using (entry_no)
group by e.entry_no;

-- relation: month_end
with paid as (select invoice_no, sum(amount) as paid from bank_allocations group by 1),
     open_items as (select i.*, coalesce(p.paid, 0) as settled from invoices i left join paid p on p.invoice_no = i.id)
select concat('sold ', date_format(issued_on, '%Y-%m')), cast(count(*) as char), sum(net_amount), sum(tax_amount),
       sum(total_amount)
from invoices group by 1
union all
select concat('owed by ', customer_id), sum(total_amount - settled), null, null, null
from open_items group by customer_id having sum(total_amount - settled) <> 0
union all
select 'owed', coalesce(sum(total_amount - settled), 0), null, null, null from open_items;
