"""What the kinds of decisions share: their interface, the list of them, and requeueing what waited for one."""
