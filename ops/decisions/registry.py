"""Every kind of decision, in the order of the console's menu, the home page and the digest."""

from __future__ import annotations

from sorbus.ops.checklists.kind import ChecklistKind
from sorbus.ops.conflicts.kind import ConflictKind
from sorbus.ops.dead_letters.kind import LetterKind
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.drift.kind import DriftKind
from sorbus.ops.duplicates.kind import DuplicateKind
from sorbus.ops.reconcile.kind import ReconcileKind
from sorbus.ops.waiting.kind import WaitingKind

DECISION_KINDS: tuple[DecisionKind, ...] = (
    LetterKind(),
    DuplicateKind(),
    ConflictKind(),
    WaitingKind(),
    DriftKind(),
    ReconcileKind(),
    ChecklistKind(),
)
