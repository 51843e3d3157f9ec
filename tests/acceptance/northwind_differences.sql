-- What Northwind and its two targets disagree on: table, side, row. Written from the mapping sheets by hand, so that it
-- owes nothing to the code that it proves. The three databases are foreign schemas here: source, accounting, reporting.
-- Rows are compared as jsonb, all columns of them: a column that no rule fills must be null (or its schema's default).

with country (name, code) as (
    values ('Argentina', 'AR'), ('Austria', 'AT'), ('Belgium', 'BE'), ('Brazil', 'BR'), ('Canada', 'CA'),
           ('Denmark', 'DK'), ('Finland', 'FI'), ('France', 'FR'), ('Germany', 'DE'), ('Ireland', 'IE'), ('Italy', 'IT'),
           ('Mexico', 'MX'), ('Norway', 'NO'), ('Poland', 'PL'), ('Portugal', 'PT'), ('Spain', 'ES'), ('Sweden', 'SE'),
           ('Switzerland', 'CH'), ('UK', 'GB'), ('USA', 'US'), ('Venezuela', 'VE')
),
category (id, name) as (
    values (1, 'Beverages'), (2, 'Condiments'), (3, 'Confections'), (4, 'Dairy Products'), (5, 'Grains/Cereals'),
           (6, 'Meat/Poultry'), (7, 'Produce'), (8, 'Seafood')
),
shipper (id, name) as (
    values (1, 'Speedy Express'), (2, 'United Package'), (3, 'Federal Shipping'), (4, 'Alliance Shippers'), (5, 'UPS'),
           (6, 'DHL')
),
expected (relation, line) as (
    select 'reporting.customers', jsonb_build_object(
        'id', c.customer_id, 'name', c.company_name, 'number', c.customer_id, 'kind', 'ORGANISATION',
        'status', 'ACTIVE', 'contact_name', c.contact_name, 'contact_title', c.contact_title, 'phone', c.phone,
        'billing_address_line1', replace(c.address, '  ', ' '), 'billing_address_city', c.city,
        'billing_address_region', c.region, 'billing_address_postal_code', c.postal_code,
        'billing_address_country', country.code, 'tags', '{}'::text[])
    from source.customers c left join country on country.name = c.country
    union all
    select 'reporting.products', jsonb_build_object(
        'id', p.product_id::text, 'sku', p.product_id::text, 'name', p.product_name, 'kind', 'GOODS',
        'status', case p.discontinued when 1 then 'DISCONTINUED' else 'ACTIVE' end, 'category', category.name,
        'supplier_id', p.supplier_id::text, 'pack_size', p.quantity_per_unit, 'unit_price', p.unit_price::numeric(19, 4),
        'currency', 'USD', 'is_sold', true, 'is_purchased', true, 'is_stocked', true, 'attributes', '{}'::jsonb,
        'tags', '{}'::text[])
    from source.products p left join category on category.id = p.category_id
    union all
    select 'reporting.employees', jsonb_build_object(
        'id', e.employee_id::text, 'name', e.first_name || ' ' || e.last_name, 'given_name', e.first_name,
        'family_name', e.last_name, 'salutation', e.title_of_courtesy, 'status', 'ACTIVE',
        'employment_type', 'UNKNOWN', 'job_title', e.title, 'birth_date', e.birth_date, 'hired_on', e.hire_date,
        'address_line1', replace(e.address, '\n', ', '), 'address_city', e.city, 'address_region', e.region,
        'address_postal_code', e.postal_code, 'address_country', country.code, 'private_phone', e.home_phone,
        'extension', e.extension, 'manager_id', e.reports_to::text, 'notes', e.notes)
    from source.employees e left join country on country.name = e.country
    union all
    select 'reporting.orders', jsonb_build_object(
        'id', o.order_id::text, 'number', o.order_id::text, 'customer_id', o.customer_id,
        'employee_id', o.employee_id::text, 'ordered_on', o.order_date, 'requested_on', o.required_date,
        'shipped_on', o.shipped_date, 'status', case when o.shipped_date is null then 'PLACED' else 'SHIPPED' end,
        'shipping_method', shipper.name, 'shipping_amount', o.freight::numeric(19, 4), 'currency', 'USD',
        'shipping_name', o.ship_name, 'shipping_address_line1', o.ship_address, 'shipping_address_city', o.ship_city,
        'shipping_address_region', o.ship_region, 'shipping_address_postal_code', o.ship_postal_code,
        'shipping_address_country', country.code, 'tags', '{}'::text[])
    from source.orders o
    left join country on country.name = o.ship_country
    left join shipper on shipper.id = o.ship_via
    union all
    select 'reporting.order_lines', jsonb_build_object(
        'order_id', d.order_id::text, 'position', row_number() over (partition by d.order_id order by d.product_id),
        'product_id', d.product_id::text, 'quantity', d.quantity, 'unit_price', d.unit_price::numeric(19, 4),
        'discount_rate', d.discount::numeric(9, 6))
    from source.order_details d
    union all
    select 'accounting.debtors', jsonb_build_object(
        'debtor_no', c.customer_id, 'account_code', 'D-' || c.customer_id, 'name', c.company_name,
        'attention', case when c.contact_name <> '' then 'c/o ' || c.contact_name end,
        'street', replace(c.address, '  ', ' '), 'zip', coalesce(c.postal_code, ''), 'town', c.city,
        'country_code', country.code, 'dunning_level', 0)
    from source.customers c left join country on country.name = c.country
    union all
    select 'accounting.articles', jsonb_build_object(
        'article_no', p.product_id::text, 'wording', p.product_name, 'revenue_group', category.name,
        'sales_price', p.unit_price::numeric(19, 4), 'currency', 'USD', 'is_active', p.discontinued <> 1)
    from source.products p left join category on category.id = p.category_id
    union all
    select 'accounting.staff', jsonb_build_object(
        'staff_no', e.employee_id::text, 'full_name', e.first_name || ' ' || e.last_name, 'job_title', e.title,
        'hired_on', e.hire_date)
    from source.employees e
    union all
    select 'accounting.sales_orders', jsonb_build_object(
        'order_no', o.order_id::text, 'debtor_no', o.customer_id, 'ordered_on', o.order_date,
        'shipped_on', o.shipped_date, 'status', case when o.shipped_date is null then 'PLACED' else 'SHIPPED' end,
        'currency', 'USD', 'freight', coalesce(o.freight::numeric(19, 4), 0))
    from source.orders o
    union all
    select 'accounting.sales_order_lines', jsonb_build_object(
        'order_no', d.order_id::text, 'position', row_number() over (partition by d.order_id order by d.product_id),
        'article_no', d.product_id::text, 'quantity', d.quantity, 'price', d.unit_price::numeric(19, 4),
        'discount', d.discount::numeric(9, 6))
    from source.order_details d
),
found (relation, line) as (
    select 'reporting.customers', to_jsonb(t) - 'sorbus_version' - 'sorbus_deleted_at'
    from reporting.customers t where sorbus_deleted_at is null
    union all select 'reporting.products', to_jsonb(t) - 'sorbus_version' from reporting.products t
    union all select 'reporting.employees', to_jsonb(t) - 'sorbus_version' from reporting.employees t
    union all select 'reporting.orders', to_jsonb(t) - 'sorbus_version' from reporting.orders t
    union all select 'reporting.order_lines', to_jsonb(t) from reporting.order_lines t
    union all select 'accounting.debtors', to_jsonb(t) from accounting.debtors t
    union all select 'accounting.articles', to_jsonb(t) - 'sorbus_version' from accounting.articles t
    union all select 'accounting.staff', to_jsonb(t) - 'sorbus_version' from accounting.staff t
    union all select 'accounting.sales_orders', to_jsonb(t) - 'sorbus_version' from accounting.sales_orders t
    union all select 'accounting.sales_order_lines', to_jsonb(t) from accounting.sales_order_lines t
),
wanted as (select relation, jsonb_strip_nulls(line) as line from expected),
there as (select relation, jsonb_strip_nulls(line) as line from found)
select relation, 'missing' as side, line from (table wanted except all table there) as missing
union all
select relation, 'unexpected', line from (table there except all table wanted) as unexpected
order by 1, 3
