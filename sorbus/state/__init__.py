"""Sorbus's own PostgreSQL: what has to be remembered beside the topics."""

from sorbus.state.database import State, migrate, plan_state

__all__ = ["State", "migrate", "plan_state"]
