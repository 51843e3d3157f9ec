"""Since when something is away, by the processes that `sorbus up` runs here: they know while Kafka can't be asked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import httpx

from sorbus.errors import TransientError, missing
from sorbus.http_api import bounded
from sorbus.ops.monitoring.problems import DEPENDENCIES, moment_with_zone
from sorbus.tls import trusted_certificates

_WHOLE, _LARGEST = 2.0, 65_536


def explained(error: TransientError, folder: Path) -> TransientError:
    """The error as operators read it: what is unreachable, since when as far as that is known, and why."""
    if error.dependency not in DEPENDENCIES:
        return error
    began = _since(error.dependency, folder)
    since = f" since {moment_with_zone(began)}" if began else ""
    told = f"{DEPENDENCIES[error.dependency]} is unreachable{since}, because {error}"
    return missing(error.dependency, TransientError(told))


def _since(dependency: str, folder: Path) -> float | None:
    """Since when the first of the processes in `folder`, `sorbus up`'s, misses it."""
    found = []
    try:
        processes = json.loads((folder / "processes.json").read_text("utf-8"))
        with (
            httpx.Client(timeout=_WHOLE, trust_env=False, verify=trusted_certificates()) as client,
            bounded.within(_WHOLE),
        ):
            for one in processes:
                asked = client.build_request("GET", f"http://127.0.0.1:{int(one['port'])}/healthz/status")
                told = json.loads(bounded.read(client, asked, largest=_LARGEST)[1])
                if told["dependency"] == dependency and not told["ready"]:
                    found.append(datetime.fromisoformat(told["since"]).timestamp())
    except (OSError, ValueError, TypeError, KeyError, httpx.HTTPError, bounded.TooLarge, bounded.UnknownEncoding):
        pass  # what was heard until then
    return min(found, default=None)
