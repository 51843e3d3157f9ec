"""Answers as no application should give them, made at random from a seed: whole JSON texts, not values."""

from __future__ import annotations

import json
import random

NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e99999999999999999999",
    "-1e-999999",
    "1e300000",
    "9" * 5000,
    "0." + "1" * 3000,
    "-0",
    "0",
    "1",
    "7.0",
    "1E2",
    "3.5",
    "1e400",
    "18446744073709551616",
]
TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud83d",
    "\udc00\ud83d",
    "é",
    "🙂",
    "x" * 2000,
    "\u2028",
    "null",
    "../..",
    "%00",
    "a/b?c#d",
    "0000-00-00",
    "99999-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-13-45",
    "/Date(99999999999999999)/",
    "tomorrow",
    "2026-01-02T00:00:00Z",
]
NAMES = [
    "id",
    "name",
    "email",
    "amount",
    "city",
    "lines",
    "archived",
    "updated_at",
    "revision",
    "status",
    "what",
    "count",
    "",
    "\x00",
    "\ud83d",
    "__proto__",
    "a.b",
    "a[0]",
    "x" * 500,
]


class Odd:
    """Makes texts; the same seed makes the same ones."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> str:
        """Any JSON value, and some that are none."""
        draw = self.random.random()
        if draw < 0.3:
            return json.dumps(self.random.choice(TEXTS), ensure_ascii=True)
        if draw < 0.5:
            return self.random.choice(NUMBERS)
        if draw < 0.62:
            return self.random.choice(["null", "true", "false"])
        if draw < 0.66:
            levels = self.random.choice([5, 90, 101, 300, 900, 3000])
            return self.random.choice(["[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels])
        if depth > 3:
            return "{}"
        if draw < 0.83:
            return "[" + ",".join(self.value(depth + 1) for _ in range(self.random.randint(0, 4))) + "]"
        return self.object({}, depth + 1)

    def object(self, fields: dict[str, str], depth: int = 0) -> str:
        """`fields` (name -> JSON text), some of them replaced, left out, given twice, or with others beside them."""
        members = []
        for name, text in fields.items():
            draw = self.random.random()
            if draw < 0.06:
                continue
            members.append((name, self.value(depth) if draw < 0.2 else text))
            if draw > 0.97:
                members.append((name, self.value(depth)))
        more = range(self.random.choice([0, 0, 0, 1, 2]))
        members += [(self.random.choice(NAMES), self.value(depth)) for _ in more]
        return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members) + "}"

    def record(self, id: int) -> str:
        """A contact, odd in a field or two; now and then no object at all."""
        if self.random.random() < 0.03:
            return self.value()
        good = {
            "id": str(id),
            "name": json.dumps(f"Name {id}"),
            "email": "null",
            "amount": json.dumps(f"{self.random.randint(0, 99)}.50"),
            "city": json.dumps(self.random.choice(["Oulu", "Łódź", "Pori"])),
            "lines": "[]",
            "archived": self.random.choice(["false"] * 9 + ["true"]),
            "updated_at": json.dumps(f"2026-01-{self.random.randint(1, 28):02}T00:00:00+00:00"),
            "revision": "1",
        }
        return self.object(good)

    def page(self) -> bytes:
        """A list's answer: odd records among good ones, or an answer that is odd itself."""
        draw = self.random.random()
        if draw < 0.08:
            return self.value().encode()
        records = ",".join(self.record(self.random.randint(100, 130)) for _ in range(self.random.randint(0, 30)))
        rest = {"contacts": f"[{records}]", "total": str(self.random.randint(0, 40)), "has_more": "false"}
        for name in ("next", "next_url", "total", "has_more"):
            if self.random.random() < 0.06:
                rest[name] = self.value()
        text = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in rest.items()) + "}"
        raw = text.encode()
        if draw > 0.96:
            raw = raw[: self.random.randint(0, len(raw))]
        if draw > 0.98:
            raw = bytes(byte ^ (1 if self.random.random() < 0.002 else 0) for byte in raw)
        return self.random.choice([b"", b"", b"", b"", b"\xef\xbb\xbf"]) + raw

    def one(self, id: str) -> bytes:
        """A record's own answer."""
        if self.random.random() < 0.1:
            return self.value().encode()
        return f'{{"contact":{self.record(int(id) if id.isdigit() else 1)}}}'.encode()

    def delivery(self) -> bytes:
        """A webhook's body."""
        draw = self.random.random()
        if draw < 0.2:
            return self.value().encode()
        event = self.object({"type": '"contact.changed"', "id": '"4711"', "data": '{"id": 7}'})
        return (f"[{event},{self.value()}]" if draw < 0.4 else event).encode()
