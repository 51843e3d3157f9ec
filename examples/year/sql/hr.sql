-- Human resources.
create table employees (
    staff_no text primary key, given_name text not null, family_name text not null, user_name text not null unique,
    email text not null, job_title text not null, department text not null, manager text references employees,
    hired_on date not null, left_on date, weekly_hours numeric(4, 1) not null
);
