"""When a rate limit resets, by headers other than Retry-After, which each application writes in its own way."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_USUAL = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-requests-reset")
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_A_DAY = 86_400.0


def until_reset(
    headers: Mapping[str, str], named: Collection[str] = (), *, now: datetime | None = None
) -> float | None:
    """Seconds until requests are accepted again; None if no header says so. `named`: the description's own headers.

    If several headers say it, the longest: it is the limit that was hit, or costs one more pause.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    at = now or datetime.now(UTC)
    found = [_seconds(lower.get(name.lower(), ""), at) for name in named]
    found += [] if any(one is not None for one in found) else [_seconds(lower.get(name, ""), at) for name in _USUAL]
    # The fields of draft-ietf-httpapi-ratelimit-headers: RateLimit: "default";r=0;t=30, before limit=10, reset=30.
    standard = re.findall(r"(?:^|[;,])\s*(?:t|reset)\s*=\s*(\d{1,9})(?![\d.])", lower.get("ratelimit", ""))
    found += [float(text) for text in standard]
    waits = [one for one in found if one is not None]
    return max(waits) if waits else None


def _seconds(text: str, now: datetime) -> float | None:
    """Seconds from now: `30`, `1.5`, `30000` (ms: more than a day of seconds), `6m0s`, an epoch in s or ms, a date."""
    if re.fullmatch(r"\d{1,16}(\.\d{1,9})?", text):
        number = float(text)
        if number >= 1e12:
            return max(0.0, number / 1000 - now.timestamp())
        if number >= 1e9:
            return max(0.0, number - now.timestamp())
        return number if number <= _A_DAY else number / 1000
    if re.fullmatch(rf"(?:{_PARTS.pattern})+", text):
        return sum(float(size) * _UNITS[unit] for size, unit in _PARTS.findall(text))
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdecimal() else parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - now).total_seconds())
