"""The map as data: systems, data types, flows and field mappings, exactly as people write them.

Models define a well-formed map; `sorbus.map.checks.check` checks whether it makes sense.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, StringConstraints, field_validator

from sorbus.timing.calendars import Calendars

if TYPE_CHECKING:
    from sorbus.timing.delivery import DeliveryTimes
    from sorbus.timing.schedule import Timing

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Options = dict[str, JsonValue]
STEP = "step"
"""The kind of the system that stands for a process step."""


def lines(written: str | list[str]) -> list[str]:
    """One text, or several."""
    return [written] if isinstance(written, str) else written


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class System(_Written):
    """An application or database that the company runs."""

    kind: str = Field(description="How Sorbus talks to it: a connector's name, such as postgres.")
    connection: Options = Field(default={}, description="The connector's own settings; secrets only as ${NAME}.")
    owner: str | None = Field(
        default=None, description="A person or team to ask: Finance, or Finance <finance@example.com>."
    )
    notes: str | None = None
    shadow: bool = Field(default=False, description="True for an unofficial system, such as a private spreadsheet.")
    on_lost_slot: Literal["stop", "resnapshot"] = Field(
        default="stop", description="What to do when the source no longer holds the changes after our position."
    )
    accept_source: str | None = Field(
        default=None,
        description="The database that replaces the one read so far, as the stopped producer names it.",
    )
    heartbeat: str = Field(default="30s", description="Heartbeat interval that moves an idle slot on; 'off' for none.")
    quiet: str | list[str] = Field(
        default=[],
        description="Hours in which no flow writes to it: weekdays 08:00-18:00 Europe/London, or several such lines.",
    )


class DataType(_Written):
    """A kind of data, owned by one system and published on one topic."""

    schema_name: str | None = Field(default=None, alias="schema", description="The .avsc name; the data type's own.")
    system_of_record: Name | list[Name] | None = Field(default=None, description="The one system that owns it.")
    source: Options = Field(default={}, description="Where the owner keeps it: the connector's own settings.")
    field_owners: dict[str, Name] = Field(
        default={}, description="With two-way flows, fields that another system owns: only its changes of them count."
    )
    merge: dict[str, Literal["latest", "union", "ask"]] = Field(
        default={},
        description="With two-way flows, fields that several systems may change. When two change one at a time: latest"
        " takes the later change, union unites lists, ask holds the record back until a person decides.",
    )
    clock_tolerance: str = Field(
        default="5s",
        description="With merge: latest, how far systems' clocks may differ. Of changes that are closer than this the"
        " system of record's counts.",
    )
    required: list[str] = Field(default=[], description="Fields no record may lack, beyond the schema's own.")
    match: list[str] = Field(default=[], description="Fields that identify duplicates.")
    partitions: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Of its topic. Without it a new topic has one, which keeps all its changes in order, and a topic"
        " that is there keeps what it has. With more, several consumers of a flow share the work.",
    )
    compatibility: Literal["backward", "forward", "full"] = Field(
        default="full",
        description="What a new version of its schema must keep to: backward (new readers read old events), forward"
        " (old readers read new events), full (both). Always with all versions that there were.",
    )
    notes: str | None = None


class Manual(_Written):
    """A flow that people do by hand, and how it is verified."""

    checklist: list[str] = Field(description="The steps, in order.")
    schedule: str = Field(
        description="When it is due: daily, Monday before 09:00, first Monday of the month, monthly, cron 0 9 * * 1"
        " Europe/London, or on demand."
    )
    responsible: str = Field(description="Who does it: Finance, or Finance <finance@example.com>.")
    verification: str = Field(description="How the result is verified.")
    totals: list[str] = Field(
        default=[],
        description="Number fields of the target whose sums are compared beside the number of records: price.",
    )


class Reconcile(_Written):
    """How a flow's target is compared with its owner."""

    schedule: str | None = Field(
        default=None,
        description="When it is compared: daily 03:00, Monday before 06:00, every 6h, cron 0 3 * * *; without one, when"
        " `sorbus reconcile` is called.",
    )
    on_difference: Literal["report", "heal"] = Field(
        default="report",
        description="A record that differs after a scheduled comparison: report it, or send the owner's state again,"
        " which also reverts changes made in the target.",
    )
    heal_limit: str = Field(
        default="1%",
        pattern=r"^\d{1,3}(\.\d+)?%$",
        description="The share of a flow's records that healing may change without asking a person.",
    )

    requests_a_day: int | None = Field(
        default=None,
        ge=10,
        description="HTTP targets: the most requests that comparing may send a day (UTC). Where its list takes more, a"
        " rolling sample is compared: a part of the records at a time, until all have had their turn.",
    )
    foreign_records: Literal["keep", "delete"] = Field(
        default="keep",
        description="Records of the target that Sorbus never wrote: healing leaves them, or deletes them because the"
        " target is to hold nothing else.",
    )

    @property
    def heal_share(self) -> float:
        """`heal_limit` as a fraction."""
        return float(self.heal_limit.rstrip("%")) / 100


class Flow(_Written):
    """One data type on its way to one target system."""

    name: Name | None = Field(default=None, description="Default: DATA_TYPE-to-TARGET.")
    data_type: Name
    source: Name | None = Field(default=None, alias="from", description="Default: the data type's system of record.")
    to: Name
    direction: Literal["one-way", "two-way"] = "one-way"
    timing: str = Field(
        default="real-time",
        description="real-time, every 15m, cron 0 2 * * * Europe/London, or days: working days at 18:00 Europe/London,"
        " last working day of the month.",
    )
    quiet: str | list[str] = Field(
        default=[],
        description="Hours in which nothing is delivered, beyond the target's own: 22:00-06:00 Europe/London, or"
        " several such lines. What comes due in them is delivered once at their end.",
    )
    target: Options = Field(default={}, description="Where in the target it goes: the connector's own settings.")
    proposals: Options = Field(
        default={},
        description="With direction: two-way, where the target's own changes are read, as its connector's source"
        " settings. Default: the target's table by its key.",
    )
    deletes: Literal["hard", "soft", "ignore"] = "hard"
    where: str | None = Field(
        default=None,
        description='Which records it carries: a condition over canonical fields, such as country == "DE"; others are'
        " outside.",
    )
    on_leave: Literal["delete", "keep"] | None = Field(
        default=None,
        description="With where, a record that no longer fits: delete takes it out of the target (see `deletes`);"
        " keep leaves the target as it is.",
    )
    on_lost_events: Literal["stop", "reread"] = Field(
        default="stop",
        description="When the topic lost events before this flow read them (retention, deleted records, a topic made"
        " again): stop for a person, or read what the topic holds from its beginning.",
    )
    on_incomplete: Literal["hold", "default", "pass"] = Field(
        default="pass",
        description="A record that lacks a required field: hold it back until its owner fills it in, use the written"
        " default (and hold records without one), or pass it on unchanged.",
    )
    required: list[str] = Field(
        default=[], description="Canonical fields that the target needs, beyond the data type's and the target's own."
    )
    defaults: dict[str, JsonValue] = Field(
        default={}, description="With on_incomplete: default, the value of a canonical field that is empty."
    )
    wait_limit: str = Field(
        default="1h",
        description="How long a record waits for another that it refers to (id_in) before it is a dead letter.",
    )
    on_duplicate: Literal["ask", "link", "create"] = Field(
        default="ask",
        description="A record that may already be in the target: ask links one certain match, otherwise asks a person;"
        " link takes the likeliest match if there is exactly one, create always creates a new one.",
    )
    on_conflict: Literal["overwrite", "ask"] = Field(
        default="overwrite",
        description="A field that was edited in the target, although another system owns it: overwrite writes the"
        " owner's value and records both, ask leaves the record unchanged until a person has decided.",
    )
    notify: Literal["changes", "always"] = Field(
        default="changes",
        description="What may set off the target's own notifications (e-mail, webhooks), where its description says how"
        " to be silent: changes alone, or initial snapshots, resnapshots and replays too.",
    )
    escalate_after: str = Field(
        default="1h",
        description="How long changes may be retried, beyond the flow's timing, or a dead letter may be open, before it"
        " escalates; off: never.",
    )
    escalate_to: str | None = Field(
        default=None, description="The escalation contact, written like a system's owner. Default: the target's owner."
    )
    reconcile: Reconcile = Field(
        default=Reconcile(), description="Comparing target and owner; a text is its schedule: daily 03:00."
    )
    manual: Manual | None = None
    none: str | None = Field(default=None, description="Why this is not integrated.")
    notes: str | None = None

    @field_validator("reconcile", mode="before")
    @classmethod
    def _schedule_alone(cls, written: object) -> object:
        return {"schedule": written} if isinstance(written, str) else written

    @property
    def id(self) -> str:
        """The name that commands, consumer groups and metrics know this flow by."""
        return self.name or f"{self.data_type}-to-{self.to}"

    @property
    def runs(self) -> bool:
        """Whether a consumer runs for it: not for manual flows, nor for those not integrated."""
        return self.manual is None and self.none is None

    @property
    def is_real_time(self) -> bool:
        """Whether it delivers as changes come."""
        return self.timing.strip() in ("real-time", "realtime")


class Calendar(_Written):
    """Which days are working days."""

    holidays: str | None = Field(
        default=None,
        description="A file beside the map: CSV with a date (2026-12-25) a line, or a calendar (.ics) of whole days.",
    )
    weekend: list[Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]] = Field(
        default=["saturday", "sunday"], max_length=6, description="Days of each week on which nobody works."
    )
    notes: str | None = None


class ProcessStep(_Written):
    """Records of one data type make records of another."""

    name: Name | None = Field(default=None, description="Default: FROM-to-MAKES.")
    source: Name = Field(alias="from", description="The data type whose events it reads.")
    makes: Name = Field(description="The data type that it makes: this step alone owns it.")
    owner: str = Field(description="A person or team to ask: Logistics, or Logistics <logistics@example.com>.")
    where: str | None = Field(
        default=None,
        description='Which records make one: a condition over the fields of `from`, such as status == "confirmed".',
    )
    on_leave: Literal["delete", "keep"] = Field(
        description="When a record no longer fits `where`, or is deleted: delete what it made, or keep it as it was"
        " last made."
    )
    begin: Literal["beginning", "now"] = Field(
        description="At its first start: beginning makes records of everything that the topic holds; now only of what"
        " comes to fit `where` after that."
    )
    per: list[str] = Field(
        default=[], description="One record for all that have the same values of these fields, such as customer_id."
    )
    sum: dict[str, str] = Field(
        default={}, description="With per: field that it makes -> what is added up, a field of `from` or an expression."
    )
    count: str | None = Field(default=None, description="With per: the field that gets the number of records.")
    lines: str | None = Field(
        default=None, alias="list", description="With per: the list field that gets an item for each record."
    )
    on_lost_events: Literal["stop", "reread"] = Field(
        default="stop",
        description="When the topic lost events before this step read them: stop for a person, or read what the topic"
        " holds from its beginning.",
    )
    notes: str | None = None

    @property
    def id(self) -> str:
        """The name that commands, topics' events and metrics know this step by."""
        return self.name or f"{self.source}-to-{self.makes}"


class Map(_Written):
    """A company's whole map: map.yaml with its mapping sheets."""

    _read_calendars: Calendars = PrivateAttr(default_factory=Calendars)
    company: str = "company"
    topic_prefix: str = Field(default="", pattern=r"^[a-z0-9._-]*$", description="Put before every topic and group.")
    systems: dict[Name, System]
    data_types: dict[Name, DataType]
    flows: list[Flow] = []
    steps: list[ProcessStep] = Field(default=[], description="Records that make records of another data type.")
    calendars: dict[Name, Calendar] = Field(
        default={},
        description="Working days, for timings such as working days at 18:00; a text is the file of holidays.",
    )
    lookups: dict[str, dict[str, str]] = Field(default={}, description="Named value tables for `lookup(...)`.")

    @field_validator("calendars", mode="before")
    @classmethod
    def _holidays_alone(cls, written: object) -> object:
        if not isinstance(written, dict):
            return written
        return {name: {"holidays": one} if isinstance(one, str) else one for name, one in written.items()}

    @property
    def working(self) -> Calendars:
        """Its calendars with the holidays of their files; Monday to Friday where it has none."""
        return self._read_calendars

    def set_calendars(self, read: Calendars) -> None:
        """Called once, by whoever read the files."""
        self._read_calendars = read

    def times(self, flow: Flow) -> DeliveryTimes:
        """When a flow delivers; ValueError with the fix if `timing` or `quiet` can't be read."""
        from sorbus.timing.delivery import DeliveryTimes
        from sorbus.timing.quiet import parse_quiet
        from sorbus.timing.schedule import parse_timing

        quiet = parse_quiet(self.quiet(flow), self.working)
        return DeliveryTimes(parse_timing(flow.timing, self.working), quiet)

    def quiet(self, flow: Flow) -> list[str]:
        """The hours in which a flow doesn't deliver, as written: its own and its target's."""
        target = self.systems.get(flow.to)
        return [*lines(flow.quiet), *(lines(target.quiet) if target else [])]

    def due(self, schedule: str) -> Timing:
        """A schedule of a checklist or a comparison, by the map's calendars; ValueError with the fix."""
        from sorbus.timing.schedule import parse_schedule

        return parse_schedule(schedule, self.working)

    def owner_of(self, data_type: str) -> str:
        """The system of record of `data_type`; the map has been checked, so there is exactly one."""
        owner = self.data_types[data_type].system_of_record
        assert isinstance(owner, str)
        return owner

    def flow(self, name: str) -> Flow:
        """The flow called `name`; KeyError if there is none."""
        for flow in self.flows:
            if flow.id == name:
                return flow
        raise KeyError(name)

    def owned_by(self, system: str) -> list[str]:
        """The data types whose system of record is `system`, in the map's order."""
        return [name for name, data_type in self.data_types.items() if data_type.system_of_record == system]


class FieldMapping(_Written):
    """One row of a mapping sheet. One side is `canonical`: its field is DATA_TYPE.FIELD or DATA_TYPE.LIST[].FIELD."""

    source_system: str
    source_field: str
    target_system: str
    target_field: str
    rule: str = ""
    notes: str = ""
    file: Path = Path()
    line: int = 0
