"""Delivery into PostgreSQL: a staged binary COPY and one guarded merge per batch."""
