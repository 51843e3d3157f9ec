"""Sending every owner's digest, each once for a time of the schedule, however many processes do it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from sorbus.errors import SorbusError, TransientError
from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.decisions.kind import DecisionKind
from sorbus.ops.decisions.registry import DECISION_KINDS
from sorbus.ops.digest.collect import Facts, gather
from sorbus.ops.digest.items import Digest, DigestRequest
from sorbus.ops.digest.mail import Outbox, outbox
from sorbus.ops.digest.render import as_mail
from sorbus.ops.digest.writer import DigestWriter
from sorbus.ops.monitoring.measure import Measurement
from sorbus.settings import Settings
from sorbus.state import State
from sorbus.timing.schedule import parse_schedule

DAY = timedelta(days=1)
LATEST = timedelta(hours=2)
"""How long after its time a daily digest is still sent, by a watch that was away or could not send it."""
_EVERYBODY = ""
"""The address of the note that nobody lacks a digest any more."""
_log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """What became of one digest: `why` is empty when it was sent, `may_go_later` when it is just a matter of time.

    `is_refused`: the server takes no mail of ours to that address.
    """

    address: str
    digest: Digest
    why: str
    may_go_later: bool = False
    is_refused: bool = False


class DigestDelivery:
    """A map's digests on their way to people."""

    def __init__(
        self,
        company: Map,
        settings: Settings,
        state: State,
        to: Sequence[str] = (),
        kinds: Sequence[DecisionKind] = DECISION_KINDS,
    ) -> None:
        self._company, self._settings, self._state, self._to = company, settings, state, to
        self._writer, self._kinds = DigestWriter(company), kinds

    def gather(self, measured: Measurement, since: datetime, until: datetime) -> Facts:
        """What there is to report. TransientError, AuthError."""
        return gather(DigestRequest(self._company, self._settings, self._state, measured, since, until), self._kinds)

    def addressed(self, facts: Facts) -> Iterator[tuple[str, Digest]]:
        """The recipients: everybody in the map with an address, and `to`, who get everything."""
        for contact in self._writer.recipients.contacts():
            if contact.address is not None:
                yield contact.address, self._writer.digest(facts, contact)
        for address in self._to:
            yield address, self._writer.digest(facts)

    def of(self, facts: Facts, contact: Contact | None) -> Digest:
        """One digest, to be shown."""
        return self._writer.digest(facts, contact)

    def send(self, facts: Facts, due: datetime | None = None) -> list[Sent]:
        """Mails all that have something to report; with `due` only those not sent for that time yet.

        TransientError, AuthError or SorbusError when the mail server takes none at all; what it refuses of a single
        address is in the result, and the others go.
        """
        found = []
        with outbox(self._settings) as box:
            for address, digest in self.addressed(facts):
                if not digest.sections:
                    found.append(Sent(address, digest, "nothing to report"))
                    continue
                mail = as_mail(
                    digest, self._company.company, self._settings.console_url, self._settings.mail_from, address
                )
                found.append(self._once(box, mail, address, digest, due))
        return found

    def note_done(self, due: datetime) -> None:
        """Nobody lacks the digest of that time. TransientError, AuthError."""
        self._state.run(_statement("sent"), {"address": _EVERYBODY, "due": due})

    def is_done(self, due: datetime) -> bool:
        """Whether nobody lacks it, or none was ever sent before. TransientError, AuthError."""
        ((last,),) = self._state.run(_statement("done"), {"address": _EVERYBODY})
        # Half a day: the clocks, or the map's time, may have changed since the one before.
        return last is None or cast("datetime", last) > due - DAY / 2

    def _once(self, box: Outbox, mail: EmailMessage, address: str, digest: Digest, due: datetime | None) -> Sent:
        """Sends it, and then notes that: a process that is killed in between sends it twice, and not never."""
        if due is None:
            return _sent(box, mail, address, digest)
        of = {"address": address, "due": due}
        with self._state.lock(f"digest {due.isoformat()} {address}") as is_ours:
            if not is_ours:
                return Sent(address, digest, "another process sends it", may_go_later=True)
            if self._state.run(_statement("known"), of):
                return Sent(address, digest, "already sent")
            sent = _sent(box, mail, address, digest)
            if not sent.why:
                self._state.run(_statement("sent"), of)
            return sent


def _sent(box: Outbox, mail: EmailMessage, address: str, digest: Digest) -> Sent:
    try:
        box.send(mail, address)
    except SorbusError as error:
        may_go_later = isinstance(error, TransientError)
        return Sent(address, digest, str(error), may_go_later, not may_go_later)
    return Sent(address, digest, "")


class DailyDelivery:
    """Sends the digests at their time, from a process that measures: to be called after every measurement.

    `at` is a time of day as in `08:00` or `08:00 Europe/London`; ValueError says what to write.
    """

    def __init__(self, delivery: DigestDelivery, at: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self._delivery = delivery
        self._timing = parse_schedule(f"daily at {at}")
        self._clock = clock or (lambda: datetime.now(UTC))
        self._done: datetime | None = None
        self._asked: datetime | None = None
        """The last one that came too late, and of which it is known whether it was sent."""
        self.unsent = ""
        """Why the last digest that was due didn't reach somebody; empty if it did."""

    def after(self, measured: Measurement) -> None:
        """Sends what is due; what can't be sent is logged, and tried again after the next measurement."""
        now = self._clock()
        due = self._timing.last_until(now)
        if due is None or due == self._done:
            return
        if now - due > LATEST:
            self._note_missed(due)
            return
        try:
            sent = self._delivery.send(self._delivery.gather(measured, due - DAY, now), due)
        except TransientError as error:
            tried_until = (due + LATEST).isoformat()
            self.unsent = str(error)
            _log.warning("the digest can't be sent now", extra={"reason": str(error), "tried_until": tried_until})
            return
        except SorbusError as error:
            self._done, self.unsent = due, str(error)
            _log.error(
                "the digest can't be sent; next attempt at the next scheduled time", extra={"reason": str(error)}
            )
            return
        except Exception as error:  # noqa: BLE001  # what one digest can't tell keeps nobody from measuring
            self._done, self.unsent = due, f"an internal error of Sorbus: {type(error).__name__}: {error}"
            _log.exception("the digest can't be sent")
            return
        failed = [f"to {one.address}: {one.why}" for one in sent if one.may_go_later or one.is_refused]
        self.unsent = "; ".join(failed)
        for one in sent:
            if one.may_go_later:
                tried_until = (due + LATEST).isoformat()
                told = {"to": one.address, "reason": one.why, "tried_until": tried_until}
                _log.warning("a digest can't be sent now", extra=told)
            elif one.why:
                _log.info("no digest", extra={"to": one.address, "reason": one.why})
            else:
                _log.info("digest sent", extra={"to": one.address, "to_look_at": one.digest.grave})
        if not any(one.may_go_later for one in sent):
            self._done = due
        if not failed:
            with suppress(SorbusError):  # a later process may then take it for missed
                self._delivery.note_done(due)

    def _note_missed(self, due: datetime) -> None:
        """Of a digest that is too late to be sent: whether it was, by this process, another or the one before."""
        if due == self._asked:
            return
        try:
            is_done = self._delivery.is_done(due)
        except SorbusError as error:
            _log.debug("whether the digest of %s was sent isn't known: %s", due, error)
            return
        self._asked = due
        if not is_done and not self.unsent:
            self.unsent = f"the one of {due.isoformat()} has not reached everybody, and is too late now"
            _log.error("a digest was missed; next attempt at the next scheduled time", extra={"due": due.isoformat()})


@cache
def _statement(name: str) -> bytes:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()
