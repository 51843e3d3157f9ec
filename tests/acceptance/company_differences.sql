-- What the demo company's CRM and its two targets disagree on: table, side, row. Written from the mapping sheets by hand,
-- so that it owes nothing to the code that it proves. The databases are foreign schemas: source, accounting, reporting.
-- Rows are compared as jsonb, all columns of them: a column that no rule fills must be null (or its schema's default).

with country (name, code) as (
    values ('Austria', 'AT'), ('Belgium', 'BE'), ('Czechia', 'CZ'), ('Denmark', 'DK'), ('Finland', 'FI'),
           ('France', 'FR'), ('Germany', 'DE'), ('Ireland', 'IE'), ('Italy', 'IT'), ('Norway', 'NO'), ('Poland', 'PL'),
           ('Portugal', 'PT'), ('Spain', 'ES'), ('Sweden', 'SE'), ('Switzerland', 'CH'), ('UK', 'GB'),
           ('United States', 'US')
),
customer_status (stage, status) as (
    values ('lead', 'PROSPECT'), ('active', 'ACTIVE'), ('on hold', 'ON_HOLD'), ('closed', 'INACTIVE')
),
order_status (state, status) as (
    values ('quote', 'DRAFT'), ('placed', 'PLACED'), ('confirmed', 'CONFIRMED'), ('shipped', 'SHIPPED'),
           ('done', 'COMPLETED'), ('cancelled', 'CANCELLED')
),
terms (words, days) as (values ('prepaid', 0), ('net 14', 14), ('net 30', 30), ('net 60', 60)),
unit (short, name) as (values ('pc', 'piece'), ('h', 'hour'), ('kg', 'kilogram'), ('m', 'metre')),
expected (relation, line) as (
    select 'reporting.customers', jsonb_build_object(
        'id', c.customer_id::text, 'number', c.customer_no,
        'name', coalesce(c.company, c.contact_first || ' ' || c.contact_last),
        'kind', case when c.company is null then 'PERSON' else 'ORGANISATION' end, 'status', s.status,
        'tax_number', upper(replace(c.vat_id, ' ', '')), 'contact_name', c.contact_first || ' ' || c.contact_last,
        'contact_given_name', c.contact_first, 'contact_family_name', c.contact_last, 'contact_title', c.contact_role,
        'email', lower(btrim(c.email)), 'phone', btrim(c.phone), 'website', c.website, 'language', c.language,
        'currency', c.currency, 'payment_terms_days', terms.days, 'credit_limit', c.credit_limit,
        'account_manager_id', c.account_manager::text, 'billing_address_line1', btrim(c.street),
        'billing_address_line2', c.street2, 'billing_address_city', c.town, 'billing_address_region', c.county,
        'billing_address_postal_code', c.postcode, 'billing_address_country', country.code,
        'shipping_address_line1', c.ship_street, 'shipping_address_city', c.ship_town,
        'shipping_address_postal_code', c.ship_postcode, 'shipping_address_country', ship_country.code,
        'tags', c.labels, 'notes', c.notes, 'created_at', c.created_at)
    from source.customers c
    left join customer_status s on s.stage = c.stage::text
    left join terms on terms.words = c.terms
    left join country on country.name = c.country
    left join country as ship_country on ship_country.name = c.ship_country
    union all
    select 'reporting.products', jsonb_build_object(
        'id', p.product_id::text, 'sku', p.sku, 'name', btrim(p.title), 'description', p.blurb,
        'kind', case when p.is_service then 'SERVICE' else 'GOODS' end,
        'status', case when p.withdrawn_on is null then 'ACTIVE' else 'DISCONTINUED' end, 'category', p.family,
        'gtin', p.ean, 'unit', unit.name, 'unit_price', p.list_price, 'cost_price', p.cost, 'currency', p.currency,
        'tax_rate', p.vat_percent / 100, 'weight_kg', p.weight_grams / 1000.0, 'is_stocked', not p.is_service,
        'is_sold', true, 'is_purchased', true, 'attributes', '{}'::jsonb, 'tags', p.labels, 'created_at', p.created_at)
    from source.products p left join unit on unit.short = p.unit
    union all
    select 'reporting.employees', jsonb_build_object(
        'id', e.employee_id::text, 'name', e.first_name || ' ' || e.last_name,
        'status', case when e.left_on is null then 'ACTIVE' else 'LEFT' end, 'job_title', e.job_title,
        'department', e.team, 'location', e.site, 'manager_id', e.reports_to::text, 'hired_on', e.hired_on,
        'left_on', e.left_on, 'weekly_hours', e.weekly_hours)
    from source.employees e
    union all
    select 'reporting.orders', jsonb_build_object(
        'id', o.order_id::text, 'number', o.order_no, 'customer_id', o.customer_id::text,
        'employee_id', o.taken_by::text, 'customer_reference', o.their_reference, 'status', s.status,
        'channel', o.channel, 'ordered_at', o.placed_at, 'requested_on', o.wanted_on, 'shipped_on', o.shipped_on,
        'shipping_method', o.carrier, 'shipping_name', o.ship_name, 'shipping_address_line1', o.ship_street,
        'shipping_address_city', o.ship_town, 'shipping_address_postal_code', o.ship_postcode,
        'shipping_address_country', country.code, 'currency', o.currency, 'shipping_amount', o.freight,
        'notes', o.remarks, 'tags', '{}'::text[])
    from source.orders o
    left join order_status s on s.state = o.state::text
    left join country on country.name = o.ship_country
    union all
    select 'reporting.order_lines', jsonb_build_object(
        'order_id', l.order_id::text, 'position', row_number() over (partition by l.order_id order by l.line_number),
        'line_number', l.line_number, 'product_id', l.product_id::text, 'description', l.wording,
        'quantity', l.quantity, 'unit_price', l.unit_price, 'discount_rate', l.discount_percent / 100)
    from source.order_lines l
    union all
    select 'accounting.debtors', jsonb_build_object(
        'debtor_no', c.customer_id::text, 'account_code', replace(c.customer_no, 'C-', '1'),
        'name', left(coalesce(c.company, c.contact_first || ' ' || c.contact_last), 60),
        'vat_no', upper(replace(c.vat_id, ' ', '')), 'invoice_email', lower(btrim(c.email)), 'street', btrim(c.street),
        'zip', c.postcode, 'town', c.town, 'country_code', country.code, 'currency', c.currency,
        'payment_days', coalesce(terms.days, 30), 'credit_limit', c.credit_limit, 'blocked', c.stage = 'on hold',
        'dunning_level', 0)
    from source.customers c
    left join terms on terms.words = c.terms
    left join country on country.name = c.country
    union all
    select 'accounting.articles', jsonb_build_object(
        'article_id', p.product_id::text, 'article_no', p.sku, 'wording', btrim(p.title), 'unit', unit.name,
        'sales_price', p.list_price, 'cost_price', p.cost, 'currency', p.currency, 'vat_rate', p.vat_percent / 100,
        'is_active', p.withdrawn_on is null)
    from source.products p left join unit on unit.short = p.unit
    union all
    select 'accounting.staff', jsonb_build_object(
        'staff_id', e.employee_id::text, 'full_name', e.first_name || ' ' || e.last_name, 'staff_no', e.staff_no,
        'cost_centre', upper(coalesce(e.team, 'none')), 'may_claim', e.left_on is null)
    from source.employees e
    union all
    select 'accounting.sales_orders', jsonb_build_object(
        'sales_order_id', o.order_id::text, 'order_no', o.order_no, 'debtor_no', o.customer_id::text,
        'ordered_at', o.placed_at, 'status', s.status, 'currency', o.currency, 'freight', coalesce(o.freight, 0))
    from source.orders o left join order_status s on s.state = o.state::text
    union all
    select 'accounting.sales_order_lines', jsonb_build_object(
        'sales_order_id', l.order_id::text,
        'position', row_number() over (partition by l.order_id order by l.line_number), 'line_no', l.line_number,
        'article_id', l.product_id::text, 'quantity', l.quantity, 'price', l.unit_price,
        'discount', l.discount_percent / 100)
    from source.order_lines l
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
