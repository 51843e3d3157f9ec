"""A replay as a person asks for it: chosen, recorded, run in place or by a shadow, and said in words."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import cast

from sorbus.abilities import SupportsPreview, SupportsSilence
from sorbus.bus.deserialize import decode_batch
from sorbus.bus.kafka import admin, read_to_end
from sorbus.bus.names import Names
from sorbus.bus.topic_facts import topic_ids
from sorbus.connector import BoundFlow, Consumer
from sorbus.dlq.service import DeadLetterService
from sorbus.dlq.store import LetterFilter
from sorbus.drift.watch import has_state
from sorbus.errors import UsageError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.replay.deleted import lost_deletions
from sorbus.ops.replay.job import BASIS, ReplayCounts, ReplayJob, ReplayJobs, StoredReplay
from sorbus.ops.replay.outcome import ReplayOutcome
from sorbus.ops.replay.replay import Replay
from sorbus.ops.replay.selection import Selection, condition_of
from sorbus.ops.replay.shadow import ShadowReplay, drop_shadow
from sorbus.ops.replay.topic_delivery import Progress
from sorbus.settings import Settings
from sorbus.state.database import State
from sorbus.two_way.joined import why_not_joined
from sorbus.waiting.complete import consumer_of

_SHOWN = 3
MOST_PREVIEWED = 1000
"""Records that a dry run asks the target about."""


class ReplayRun:
    """The replays of one flow. TransientError, AuthError, UsageError, ReplayBusy from all of it."""

    def __init__(self, loaded: LoadedMap, flow: str, who: str) -> None:
        self._loaded, self._who, self._settings = loaded, who, Settings()
        self.flow: BoundFlow = loaded.flow(flow)
        self.connector = loaded.consumer(self.flow.flow.to)
        self._state = State.of(loaded.map.topic_prefix) if has_state(self._settings) else None

    def ids(self, written: Iterable[str], file: Path | None, cause: str) -> frozenset[bytes] | None:
        """The ids of the records that are meant; None for all."""
        chosen = {id.encode() for id in written}
        if file is not None:
            chosen |= _lines(file)
            if not chosen:
                raise UsageError(f"{file} names no record: write an id on each line")
        if cause:
            found = self._ids_of(cause)
            chosen = chosen & found if chosen else found
        return frozenset(chosen) if chosen or cause else None

    def unfinished(self) -> tuple[Selection, bool, bool]:
        """The unfinished replay's selection, whether it fills a shadow, and whether that removes extra rows."""
        found = self._jobs().unfinished(self.flow.flow.id)
        if found is None:
            raise UsageError(f"flow {self.flow.flow.id} has no unfinished replay")
        return _selection(found), bool(found.request.get("shadow")), bool(found.request.get("remove_extra"))

    def cancel(self) -> str:
        """Gives the unfinished replay up; what that was, for people."""
        flow = self.flow.flow.id
        found = self._jobs().cancel(flow, self._who)
        if found is None:
            return f"{flow}: no replay is unfinished"
        if found.request.get("shadow"):
            with self._jobs().nobody_runs(flow) as is_free:
                if is_free:  # else the process that runs it does that
                    drop_shadow(self.connector, self.flow)
        told = f"{flow}: the replay is cancelled after {found.counts.events:,} of {found.counts.total:,} events"
        return f"{told}; what it delivered stays" if not found.request.get("shadow") else f"{told}; nothing was changed"

    def in_place(self, selection: Selection, progress: Progress, *, without_deleted: bool) -> ReplayOutcome:
        """Delivers what is selected to the target."""
        condition_of(self.flow, selection.where)
        deleted = lost_deletions(self.flow, self._plain, self._settings, selection, without=without_deleted)
        with self.job(selection) as job, closing(self._replay(selection, progress)) as replay:
            resumed = job is not None and bool(job.stored.offsets)
            counts = replay.run(job, deleted)
        chosen = replay.chosen
        words = self._words(counts, f"{counts.events:,} events read, {counts.applied:,} records brought up to date")
        words = f"{words}\n{chosen.words}" if chosen and chosen.undecided else words
        unknown = replay.unknown
        words = f"{words}\n{_unknown_words(unknown)}" if unknown else words
        more: dict[str, object] = {"resumed": resumed}
        if chosen is not None:
            more |= {"records": len(chosen.newest), "undecided": len(chosen.undecided)}
        findings = bool(counts.refused or unknown or (chosen and chosen.undecided))
        return ReplayOutcome(self.flow.flow.id, counts, words, findings, more)

    def shadow(self, selection: Selection, progress: Progress, *, remove_extra: bool) -> ReplayOutcome:
        """Fills a shadow table beside the live one, compares, and applies the differences."""
        self._check_shadow(selection)
        with self.job(selection, shadow=True, remove_extra=remove_extra) as job:
            return self._shadow(progress, remove_extra=remove_extra).run(job)

    def dry_run(self, selection: Selection, progress: Progress, *, shadow: bool, remove_extra: bool) -> ReplayOutcome:
        """Counts the records that are meant, and asks the target what it would do with the first ones."""
        if shadow:
            self._check_shadow(selection)
            return self._shadow(progress, remove_extra=remove_extra).foresee()
        target = self._make()
        with closing(self._replay(selection, progress)) as replay, closing(target):
            target.open()
            chosen = replay.choose()
            actions: Counter[str] = Counter()
            if isinstance(target, SupportsPreview):
                actions = self._preview(replay, target, progress)
        asked = actions.total()
        told = f"{self.flow.flow.id}: {len(chosen.newest):,} records would be looked at ({selection.words})"
        told += f", {chosen.deleted:,} of them deleted" if chosen.deleted else ""
        if asked:
            first = f"the first {asked:,}" if asked < len(chosen.newest) else "them"
            told += f"; of {first}: " + ", ".join(f"{count:,} {action}" for action, count in actions.most_common())
        told += f"\n{chosen.words}" if chosen.undecided else ""
        is_loud = isinstance(self.connector, SupportsSilence) and not self.connector.can_be_silent(self.flow)
        if is_loud and self.flow.flow.notify == "changes":
            told += f"\n{self.flow.system.name} can't be told to set off no notifications for what is written"
        more = {"records": len(chosen.newest), "deleted": chosen.deleted, "previewed": asked, "actions": dict(actions)}
        counts = ReplayCounts()
        return ReplayOutcome(self.flow.flow.id, counts, told, bool(chosen.undecided), more)

    @contextmanager
    def job(
        self, selection: Selection, *, shadow: bool = False, remove_extra: bool = False
    ) -> Iterator[ReplayJob | None]:
        """The replay's place in Sorbus's database; None where there is none: it can't be resumed then."""
        if why := why_not_joined(self.flow):
            raise UsageError(why)
        if self._state is None:
            yield None
            return
        basis = _basis(self.flow, self._settings)
        request = {**selection.to_json(), "shadow": shadow, "remove_extra": remove_extra, BASIS: basis}
        with ReplayJobs(self._state).running(self.flow.flow.id, request, self._who) as job:
            yield job

    def _check_shadow(self, selection: Selection) -> None:
        if selection != Selection():
            raise UsageError("--shadow rebuilds the whole table: leave out --from, --to, --id, --cause and --where")

    def _preview(self, replay: Replay, target: SupportsPreview, progress: Progress) -> Counter[str]:
        assert replay.chosen is not None
        actions: Counter[str] = Counter()
        most = min(MOST_PREVIEWED, len(replay.chosen.newest))
        for message in read_to_end(replay.reader, replay.begin()):
            if actions.total() >= most:
                break
            if replay.chosen.takes(message):
                taken = decode_batch([message], replay.book)
                actions.update(target.preview(one).action for one in taken.deliveries)
                actions.update("refuse" for _ in taken.refused)
                progress("asking the target", actions.total(), most)
        return actions

    def _ids_of(self, cause: str) -> set[bytes]:
        if self._state is None:
            raise UsageError("--cause needs the index of dead letters in Sorbus's database: set SORBUS_DATABASE")
        service = DeadLetterService(self._loaded, self._settings, self._state)
        service.index.catch_up()
        filter = LetterFilter(flow=self.flow.flow.id, cause=cause)
        found: set[bytes] = set()
        after = None
        while page := service.letters.page(filter, after, 1000):
            found |= {letter.dead.record_id for letter in page}
            after = page[-1].spot
        if not found:
            raise UsageError(
                f"flow {self.flow.flow.id} has no open dead letter of cause {cause!r}: see `sorbus dlq groups"
                f" --flow {self.flow.flow.id}`"
            )
        return found

    def _jobs(self) -> ReplayJobs:
        if self._state is None:
            raise UsageError("replays are resumed and cancelled by Sorbus's database: set SORBUS_DATABASE")
        return ReplayJobs(self._state)

    def _shadow(self, progress: Progress, *, remove_extra: bool) -> ShadowReplay:
        return ShadowReplay(self.flow, self.connector, self._settings, progress, remove_extra=remove_extra)

    def _replay(self, selection: Selection, progress: Progress) -> Replay:
        return Replay(self.flow, self._make, self._settings, selection, progress)

    @property
    def _make(self) -> Callable[[], Consumer]:
        return lambda: consumer_of(self.connector, self.flow)

    def _plain(self) -> Consumer:
        return self.connector(self.flow)

    def _words(self, counts: ReplayCounts, told: str) -> str:
        flow = self.flow.flow.id
        waits = f", {counts.waiting:,} wait: see `sorbus waiting --flow {flow}`" if counts.waiting else ""
        refused = f", {counts.refused:,} refused: see `sorbus dlq list --flow {flow}`" if counts.refused else ""
        return f"{flow}: {told}{waits}{refused}"


def _unknown_words(ids: list[bytes]) -> str:
    shown = ", ".join(id.decode(errors="replace") for id in ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
    return f"{len(ids):,} of the records that were named have no event there: {shown}"


def _lines(file: Path) -> set[bytes]:
    """A file's lines that aren't blank, without the mark that Windows' editors begin a file with."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8: save it as that") from error
    return {line.strip().encode() for line in text.splitlines() if line.strip()}


def _basis(flow: BoundFlow, settings: Settings) -> str:
    """What of a replay's work depends on, in short: its topic, and what the map says of the flow. TransientError."""
    topic = Names(flow.system.topic_prefix).topic(flow.flow.data_type)
    rows = [row.model_dump(mode="json", exclude={"file", "line"}) for row in flow.mapping]
    said = [flow.flow.model_dump(mode="json"), flow.options.model_dump(mode="json"), rows, flow.schema.text]
    said += [repr(sorted(flow.lookups.items())), topic_ids(admin(settings), [topic]).get(topic, ("", 0))[0]]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _selection(stored: StoredReplay) -> Selection:
    request = stored.request
    since, until = request.get("since"), request.get("until")
    ids = cast("list[str] | None", request.get("ids"))
    return Selection(
        since=None if since is None else datetime.fromisoformat(str(since)),
        until=None if until is None else datetime.fromisoformat(str(until)),
        offsets={int(number): offset for number, offset in cast("dict[str, int]", request.get("offsets", {})).items()},
        ids=None if ids is None else frozenset(id.encode("utf-8", "surrogateescape") for id in ids),
        where=str(request.get("where", "")),
        cause=str(request.get("cause", "")),
    )
