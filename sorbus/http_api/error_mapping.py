"""What an application's answer means: success, retry, rejection, or a person has to act (RFC 9110, section 15)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sorbus.errors import (
    AuthError,
    Contended,
    GatewayAnswer,
    PermanentError,
    SorbusError,
    TransientError,
    missing,
    refused_login,
)
from sorbus.http_api.description import Errors
from sorbus.http_api.interface import Answer, Json
from sorbus.http_api.path import read_path

_TRANSIENT = frozenset({408, 429})
_CONFLICT = frozenset({412, 423, 425})
"""412: the record changed since it was read (If-Match), so read it again. 423: it is locked."""
_OF_ONE_RECORD = _CONFLICT | {409}
_UNCONDITIONAL = "it requires a condition on the state: write `etag: true` or `revision:` in its description"
_NOT_ITS_OWN = (
    "that is no JSON, so it may be a gateway's word for every address; if it is the application's own for records that"
    " are gone, write `errors: {rules: [{status: [404], means: gone}]}` in its description"
)
_IN_PLACE = (
    "the same call may succeed later; if it says so where there is nothing to show, write"
    ' `errors: {rules: [{where: {PATH: "its word"}, means: success}]}` in its description'
)
_SAYING_WHY = ("error", "errors", "error_message", "error_description", "message", "messages", "code", "reason")
_LONGEST = 500
_LONGEST_WAIT = 86_400.0
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^<>]*>", re.DOTALL | re.IGNORECASE)


def fault(
    answer: Answer, errors: Errors, *, system: str, doing: str, sent: Json = None, now: datetime | None = None
) -> SorbusError | None:
    """The error that an answer means; None for success.

    `sent` is the request's JSON, in which the rejected field's value is looked up; `now` is for Retry-After dates.
    """
    by_field = _by_field(answer.body, errors)
    words = _words(answer.body, errors, by_field)
    meaning = _meaning(answer, errors, words)
    if meaning in (None, "success"):
        return None
    return _error(answer, errors, meaning, words, by_field, system=system, doing=doing, sent=sent, now=now)


def said_failure(
    answer: Answer, errors: Errors, *, system: str, doing: str, sent: Json = None, is_read: bool = False
) -> SorbusError | None:
    """The error of a success answer whose body reports a failure; None if a rule says that it is a success.

    TransientError for a read: a query that fails once says nothing of what there is.
    """
    by_field = _by_field(answer.body, errors)
    words = _words(answer.body, errors, by_field)
    if _by_rule(answer, errors, words) == "success":
        return None
    meaning = "transient" if is_read else "permanent"
    return _error(answer, errors, meaning, words, by_field, system=system, doing=doing, sent=sent)


def _error(
    answer: Answer,
    errors: Errors,
    meaning: str,
    words: str,
    by_field: Mapping[str, Json],
    *,
    system: str,
    doing: str,
    sent: Json = None,
    now: datetime | None = None,
) -> SorbusError:
    said = f"{doing}: {system} answers {answer.status}" + (f": {words}" if words else "")
    if meaning in ("transient", "conflict"):
        wait = retry_after(answer.headers, now=now)
        if meaning == "conflict" or answer.status in _OF_ONE_RECORD:
            return Contended(said, status=answer.status, words=words, retry_after=wait)
        why = _IN_PLACE if _is_good(answer) else "the same call may succeed later"
        if _is_a_gateways(answer):
            return GatewayAnswer(f"{said}; {_NOT_ITS_OWN}", retry_after=wait)
        later = TransientError(f"{said}; {why}", retry_after=wait)
        return missing("system", later) if answer.status >= 500 else later
    if meaning == "auth":
        refused = AuthError(f"{said}; fix the credentials of {system} in the map, or its permissions there")
        refused.status = answer.status
        return refused_login(refused) if answer.status == 401 else refused
    field = next((clean(value) for value in _read_all(answer.body, errors.field)), None)
    field = field or next((clean(name) for name in by_field), None)
    reason = meaning if meaning in ("gone", "duplicate") else "refused"
    return PermanentError(
        f"{said}; {_UNCONDITIONAL}" if answer.status == 428 else said,
        reason=reason,
        field=field,
        value=_sent_value(sent, field) if field else None,
        words=words or None,
        status=answer.status,
    )


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds to wait according to Retry-After, seconds or a date (RFC 9110, section 10.2.3); None without one."""
    text = header(headers, "retry-after").strip()
    if not text:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        return min(float(text), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), _LONGEST_WAIT)


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, ignoring the case of its name; empty if there is none."""
    name = name.lower()
    return next((value for key, value in headers.items() if key.lower() == name), "")


def clean(words: object) -> str:
    """Another system's text on one line, without control characters or markup, truncated, and as UTF-8 can hold it."""
    text = _CONTROL.sub(" ", _TAG.sub(" ", str(words)[: 20 * _LONGEST])).strip().encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _by_rule(answer: Answer, errors: Errors, words: str) -> str | None:
    is_good = _is_good(answer)
    for rule in errors.rules:
        if rule.status and answer.status not in rule.status:
            continue
        if not rule.where and (is_good or not (rule.status or rule.says)):
            continue
        if rule.says and not re.search(rule.says, words, re.IGNORECASE):
            continue
        if all(_is(read_path(answer.body, path), value) for path, value in rule.where.items()):
            return rule.means
    return None


def _is_good(answer: Answer) -> bool:
    return answer.status < 300 or answer.status == 304


def _meaning(answer: Answer, errors: Errors, words: str) -> str | None:
    if (meant := _by_rule(answer, errors, words)) is not None:
        return meant
    if _is_good(answer):
        if errors.success_says and isinstance(answer.body, list):
            said = (sentence for sentence in answer.body if isinstance(sentence, str))
            return "permanent" if any(re.search(errors.success_says, each) for each in said) else None
        if errors.in_success and read_path(answer.body, errors.in_success):
            return "permanent"
        return "permanent" if _says_failed(answer.body) else None
    if answer.status in _CONFLICT:
        return "conflict"
    if answer.status in _TRANSIENT or answer.status >= 500:
        return "transient"
    if answer.status == 401:
        return "auth"
    if _is_a_gateways(answer):
        return "transient"
    return "gone" if answer.status in (404, 410) else "permanent"


def _is_a_gateways(answer: Answer) -> bool:
    """Whether a 404 has words, but no JSON: during a deployment proxies answer so for every address."""
    is_json = "json" in header(answer.headers, "content-type").lower()
    return answer.status == 404 and isinstance(answer.body, str) and not is_json


def _says_failed(body: Json) -> bool:
    """Whether the body of a success answer reports a failure: {"success": false, "error": ...} without a record.

    A description can override this with a rule (`errors.rules`, `where: {success: false}`).
    """
    if not isinstance(body, Mapping) or "id" in body:
        return False
    is_failed = any(body.get(name) is False for name in ("success", "ok"))
    return is_failed and (len(body) == 1 or any(body.get(name) for name in _SAYING_WHY))


def _is(found: Json, wanted: Json) -> bool:
    if wanted == "*":
        return found not in (None, False, "", [], {})
    return bool(found == wanted) or (found is not None and str(found) == str(wanted))


def _words(body: Json, errors: Errors, by_field: Mapping[str, Json]) -> str:
    fields = clean("; ".join(f"{name} {' '.join(_leaves(said))}" for name, said in by_field.items()))
    for said in _read_all(body, errors.message):
        if words := clean("; ".join(_leaves(said))):
            told = not fields or all(leaf in words for found in by_field.values() for leaf in _leaves(found))
            return words if told else clean(f"{words}; {fields}")
    if fields:
        return fields
    if isinstance(body, str):
        return clean(body)
    if isinstance(body, Mapping):
        return clean("; ".join(_leaves(body)))
    return ""


def _by_field(body: Json, errors: Errors) -> Mapping[str, Json]:
    found = read_path(body, errors.by_field) if errors.by_field else None
    return found if isinstance(found, Mapping) else {}


def _read_all(body: Json, paths: list[str]) -> Iterator[Json]:
    for path in paths:
        found = read_path(body, path)
        if found not in (None, "", [], {}):
            yield found


def _leaves(value: Json, depth: int = 0) -> list[str]:
    """The texts in a message, which may be a list or an object of messages; at most twenty."""
    if depth > 4:
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value[:20] for text in _leaves(item, depth + 1)][:20]
    return [] if value is None else [str(value)]


def _sent_value(sent: Json, field: str, depth: int = 0) -> Json:
    """The value sent under a field's name, wherever the application's body nests it."""
    if isinstance(sent, Mapping):
        if field in sent:
            return sent[field]
        sent = list(sent.values())
    if isinstance(sent, list) and depth < 6:
        for item in sent[:50]:
            if (found := _sent_value(item, field, depth + 1)) is not None:
                return found
    return None
