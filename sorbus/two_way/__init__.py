"""Two-way by field: several systems change one record, and each field is merged by its rule."""
