"""The audit trail: who did what, when and why."""

from sorbus.audit.trail import AuditEntry, AuditFilter, AuditPart, AuditTrail

__all__ = ["AuditEntry", "AuditFilter", "AuditPart", "AuditTrail"]
