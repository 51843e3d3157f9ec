"""A server on loopback that counts requests in sliding windows and refuses what is over, and clients that keep to them.

`serve SECONDS FLOW...` prints its port, lets requests through until every flow has had work for SECONDS, and then
prints what it saw. `work DSN PORT FLOW THREADS` sends as much as the limits let through, until the server has enough.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter, deque
from datetime import timedelta
from http.client import HTTPConnection

from sorbus.http_api.description import Limit
from sorbus.http_api.limits import Limiter
from sorbus.state import State

LIMITS = (Limit(requests=90, per=timedelta(seconds=3)), Limit(requests=60, per=timedelta(seconds=2)))


class Server:
    """Answers 200, 429 over a limit, and 410 once it has seen enough."""

    def __init__(self, seconds: float, flows: list[str]) -> None:
        self.seconds, self.missing = seconds, set(flows)
        self.windows = [(limit.requests, limit.per.total_seconds(), deque[float]()) for limit in LIMITS]
        self.begin = float("inf")
        self.taken: Counter[str] = Counter()
        self.refused = 0
        self.over = asyncio.Event()

    def answer(self, flow: str) -> int:
        """The status for a request that arrives now; two seconds after the last flow joined, counting begins."""
        now = time.monotonic()
        self.missing.discard(flow)
        if not self.missing and self.begin == float("inf"):
            self.begin = now + 2
        if now > self.begin + self.seconds:
            self.over.set()
            return 410
        for requests, seconds, times in self.windows:
            while times and times[0] <= now - seconds:
                times.popleft()
            if len(times) >= requests:
                self.refused += 1
                return 429
        for _, _, times in self.windows:
            times.append(now)
        self.taken[flow] += now >= self.begin
        return 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        while head := await reader.readline():
            while (await reader.readline()).strip():
                pass
            status = self.answer(head.split()[1].decode().strip("/"))
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()


async def serve(seconds: float, flows: list[str]) -> None:
    """Serves until enough was seen."""
    seen = Server(seconds, flows)
    server = await asyncio.start_server(seen.serve, "127.0.0.1", 0)
    say(server.sockets[0].getsockname()[1])
    await seen.over.wait()
    say({"taken": seen.taken, "refused": seen.refused})
    await asyncio.sleep(1)  # the other clients hear the 410 too


def work(dsn: str, port: int, flow: str, threads: int) -> None:
    """Sends until the server has enough; prints how often the database was asked."""
    state = State(dsn)
    limiter = Limiter(state, "accounting", LIMITS, flow=flow)
    asked: Counter[str] = Counter()

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        while True:
            asked["all"] += 1
            if wait := limiter.take(patience=10):
                time.sleep(wait)
                continue
            connection.request("GET", f"/{flow}")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 410:
                return
            asked["sent"] += 1
            limiter.heard(answer.status, dict(answer.headers), None)

    running = [threading.Thread(target=send) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    say(asked)
    state.close()


def say(what: object) -> None:
    """To whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", seconds, *flows]:
            asyncio.run(serve(float(seconds), flows))
        case ["work", dsn, port, flow, threads]:
            work(dsn, int(port), flow, int(threads))
