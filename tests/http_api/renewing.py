"""A process that talks to an application with OAuth2: renewing.py DSN BASE_URL CONNECTION [die-unused|die-unstored].

It says "ready", waits for a line, sends one request and prints its status.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from sorbus.http_api.auth.tokens import Renewal
from sorbus.http_api.interface import Call
from sorbus.http_api.transport import HttpTransport
from sorbus.state import State
from tests.http_api.applications import OAUTH2, application

dsn, base_url, connection, *when = sys.argv[1:]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if when == ["die-unstored"]:  # the answer has come, and nothing of it is stored yet
    Renewal.keep = die  # type: ignore[method-assign]
if when == ["die-unused"]:  # stored, and not used yet
    HttpTransport._asked = die  # type: ignore[assignment, method-assign]

transport = HttpTransport(application(base_url, {"auth": OAUTH2}, **json.loads(connection)), State(dsn), patience=20.0)
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(f"{transport.send(Call('GET', '/contacts'), doing='listing').status}\n")
