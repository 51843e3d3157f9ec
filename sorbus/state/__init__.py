"""Sorbus's own PostgreSQL database: state that is not on the topics."""

from sorbus.state.database import State, migrate, plan_state

__all__ = ["State", "migrate", "plan_state"]
