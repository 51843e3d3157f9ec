#!/bin/bash
# Run once by the postgres image, in an empty server: a role for Sorbus and the company's databases.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --set password="$SORBUS_PASSWORD" <<'SQL'
create role sorbus login replication password :'password';
create database sorbus owner sorbus;
create database registry owner sorbus;
create database crm owner sorbus;
create database accounting owner sorbus;
create database reporting owner sorbus;
SQL
for name in crm accounting; do
  psql --quiet --set ON_ERROR_STOP=1 --username sorbus --dbname "$name" --file "/company/$name.sql"
done
