-- What hr shows, relation by relation; the first column is the key (read by systems.py).

-- relation: employees
select staff_no, given_name || ' ' || family_name, user_name, email, job_title, department, case when left_on is
       null then 'ACTIVE' else 'LEFT' end
from employees;
