"""A flow's settings in words: when it delivers, which records, what happens to deletes, and when something fails."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sorbus.abilities import DetectsConflicts
from sorbus.connector import consumer_connector
from sorbus.errors import SorbusError
from sorbus.map.contact import contact
from sorbus.mapfile.model import STEP, Flow, Map
from sorbus.mapping.plain_words import condition_in_words, field_in_words

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_DURATION = re.compile(r"(\d+)\s*([smhd])")
_CRON_DAILY = re.compile(r"cron (\d{1,2}) (\d{1,2}) \* \* (\*|[0-7]|1-5)(?: (\S+))?")
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def when_in_words(company: Map, flow: Flow) -> str:
    """When changes reach the target."""
    if flow.none is not None:
        return "not transferred"
    if flow.manual is not None:
        return f"by hand: {flow.manual.schedule}, by {contact(flow.manual.responsible).name}"
    quiet = company.quiet(flow)
    told = timing_in_words(flow.timing)
    return f"{told}, but not during {' or '.join(quiet)}: then at their end" if quiet else told


def timing_in_words(timing: str) -> str:
    """`every 15m` is every 15 minutes; what has no words here is shown as written."""
    written = " ".join(timing.split())
    if written in ("real-time", "realtime"):
        return "at once, usually within seconds"
    if written.startswith("every ") and (found := _DURATION.fullmatch(written.removeprefix("every "))):
        return f"every {duration_in_words(found[0]).removeprefix('1 ')}"
    if found := _CRON_DAILY.fullmatch(written):
        minute, hour, day, zone = found.groups()
        days = "every day" if day == "*" else "Monday to Friday" if day == "1-5" else f"every {_DAYS[int(day)]}"
        return f"{days} at {int(hour):02}:{int(minute):02} ({zone or 'UTC'})"
    return written


def duration_in_words(written: str) -> str:
    """`90s` is 90 seconds."""
    found = _DURATION.fullmatch(written.strip())
    if not found:
        return written
    return f"{found[1]} {_UNITS[found[2]]}{'s' * (int(found[1]) != 1)}"


def which_in_words(company: Map, flow: Flow) -> str:
    """Which records the target gets."""
    if not flow.where:
        return "all"
    told = f"only if {condition_in_words(flow.where, company.lookups)}"
    if not flow.runs:
        return told
    left = {"delete": _deleted(flow, company), "keep": "stays there as it last was"}[flow.on_leave or "delete"]
    return f"{told}. One that no longer fits {left}"


def deletes_in_words(company: Map, flow: Flow) -> str:
    """What happens in the target to a record that its owner deletes."""
    if flow.manual is not None:
        return "deleted by hand; the prepared sheet lists it"
    return f"it {_deleted(flow, company)}" if flow.runs else ""


def _deleted(flow: Flow, company: Map) -> str:
    kind = company.systems[flow.to].kind if flow.to in company.systems else ""
    if kind == "webhook":
        return "is reported to it as deleted"
    return {
        "hard": "is deleted there too",
        "soft": "stays there, marked as deleted",
        "ignore": "stays there",
    }[flow.deletes]


def failures(company: Map, flow: Flow) -> Iterator[str]:
    """What happens when something goes wrong, and who is told: a sentence or two each."""
    target, owner = flow.to, company.data_types[flow.data_type].system_of_record
    told = _escalation(company, flow)
    if flow.manual is not None:
        yield from _manual_failures(company, flow)
        return
    if flow.escalate_after == "off":
        called = "Nobody is called for that; the console shows it."
    else:
        called = f"If that takes longer than {duration_in_words(flow.escalate_after)}, {told} is told."
    yield (
        f"{target} can't be reached: nothing is lost. Changes wait, and are delivered in their order once it is back."
        f" {called}"
    )
    yield (
        f"{target} refuses a record, for example because a value is too long: that record alone is set aside with the"
        f" reason, and all others continue. {told} corrects the cause and sends it again, or discards it with a reason."
        " In the console it is under “Dead letters”."
    )
    if incomplete := _incomplete(company, flow):
        yield incomplete
    if _reads_before_it_writes(company, flow):
        yield _duplicates(flow)
        edited = {
            "overwrite": f"the value of {owner} is written over it, and both values are kept on record",
            "ask": "the record is left as it is until a person has decided which value counts",
        }[flow.on_conflict]
    else:
        edited = f"it stays so until the record is changed in {owner} or the two are compared"
        if flow.reconcile.schedule:
            edited += f" ({flow.reconcile.schedule})"
    if flow.direction == "two-way":
        yield from _two_way_failures(company, flow, str(owner))
    else:
        step = next((one for one in company.steps if one.makes == flow.data_type), None)
        correct = f"Correct it in {owner}"
        if step is not None and company.systems[str(owner)].kind == STEP:
            correct = f"Correct the {field_in_words(step.source)} that it is made from"
        yield f"A field is edited in {target}, although {owner} owns it: {edited}. {correct}."


def _two_way_failures(company: Map, flow: Flow, owner: str) -> Iterator[str]:
    asked = [field_in_words(name) for name, rule in company.data_types[flow.data_type].merge.items() if rule == "ask"]
    if asked:
        yield (
            f"Two systems change the same field at a time ({', '.join(asked)}): a person chooses the value, in the"
            " console under “Conflicts”. Until then the record is not carried to any system."
        )
    if flow.to != owner:
        yield f"A record is deleted in {flow.to}: it is created there again. To delete it, delete it in {owner}."
    yield (
        "A program changes a field back each time it arrives: after 25 rounds within a minute Sorbus holds that record,"
        f" and {_escalation(company, flow)} is told. Stop the program first, then choose the value under “Conflicts”."
    )


def _reads_before_it_writes(company: Map, flow: Flow) -> bool:
    """Whether possible duplicates and edits in the target are seen when a record is delivered."""
    try:
        connector: object = consumer_connector(company.systems[flow.to].kind)
    except (SorbusError, ImportError, KeyError):
        return False
    return isinstance(connector, DetectsConflicts) and connector.compares


def _escalation(company: Map, flow: Flow) -> str:
    system = company.systems.get(flow.to)
    written = flow.escalate_to or (system.owner if system else None)
    return contact(written).name if written else "whoever runs Sorbus"


def _incomplete(company: Map, flow: Flow) -> str:
    needed = [*company.data_types[flow.data_type].required, *flow.required]
    if not needed and flow.on_incomplete == "pass":
        return ""
    named = ", ".join(field_in_words(name) for name in dict.fromkeys(needed)) or f"a field that {flow.to} requires"
    defaults = ", ".join(f"{field_in_words(name)} = {value}" for name, value in flow.defaults.items())
    return {
        "hold": f"A record lacks {named}: it waits until the field is filled in at its owner, and is then delivered.",
        "default": f"A record lacks {named}: this is put in its place: {defaults or 'nothing is written down'}. Where"
        " nothing is written down, the record waits until the field is filled in at its owner.",
        "pass": f"A record lacks a field that must be filled in ({named}): it is delivered all the same; if {flow.to}"
        " refuses it, it is set aside.",
    }[flow.on_incomplete]


def _duplicates(flow: Flow) -> str:
    return {
        "ask": f"A new record may be in {flow.to} already: a match that is certain is used; of all others a person is"
        " asked (in the console under “Possible duplicates”).",
        "link": f"A new record may be in {flow.to} already: the likeliest match is used if there is exactly one, a"
        " person is asked otherwise.",
        "create": f"A new record may be in {flow.to} already: it is created all the same.",
    }[flow.on_duplicate]


def _manual_failures(company: Map, flow: Flow) -> Iterator[str]:
    assert flow.manual is not None
    responsible = contact(flow.manual.responsible).name
    system = company.systems.get(flow.to)
    owner = contact(system.owner).name if system and system.owner else "whoever runs Sorbus"
    read = f"; {owner} reads it in the daily digest" if owner != responsible else ""
    yield f"The work is not done in time: it is overdue, and {responsible} is told{read}."
    yield (
        f"A change can't be made: {responsible} marks its row “not done” with the reason. The next sheet lists"
        " it again."
    )
    yield "The counts differ afterwards: the round stays open until the difference is found or explained."
