"""Which transactions have been read: MySQL's GTID sets, and MariaDB's last GTID of each domain; no I/O."""

from __future__ import annotations

from typing import Self


class MariadbGtids:
    """Domain -> (server, sequence number) of its last transaction: 0-1-100,1-2-7. Numbers grow within a domain."""

    def __init__(self, text: str) -> None:
        """ValueError."""
        self._last = dict(_parsed(part) for part in text.replace(" ", "").split(",") if part)

    def __contains__(self, gtid: object) -> bool:
        domain, (_, number) = _parsed(str(gtid))
        found = self._last.get(domain)
        return found is not None and number <= found[1]

    def including(self, gtid: str) -> Self:
        domain, last = _parsed(gtid)
        made = type(self)("")
        made._last = {**self._last, domain: last}
        return made

    def covers(self, other: Self) -> bool:
        return all(f"{domain}-{server}-{number}" in self for domain, (server, number) in other._last.items())

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{number}" for domain, (server, number) in sorted(self._last.items()))


def _parsed(gtid: str) -> tuple[int, tuple[int, int]]:
    domain, server, number = gtid.split("-")
    return int(domain), (int(server), int(number))


class MysqlGtids:
    """Server -> ranges of numbers: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:8, ..."""

    def __init__(self, text: str) -> None:
        """ValueError."""
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            server, *ranges = part.lower().split(":")
            for each in ranges:
                first, _, last = each.partition("-")
                self._ranges.setdefault(server, []).append((int(first), int(last or first)))
        for server, found in self._ranges.items():
            self._ranges[server] = _merged(found)

    def __contains__(self, gtid: object) -> bool:
        server, _, number = str(gtid).lower().partition(":")
        wanted = int(number)
        return any(first <= wanted <= last for first, last in self._ranges.get(server, ()))

    def including(self, gtid: str) -> Self:
        server, _, number = gtid.lower().partition(":")
        wanted = int(number)
        ranges = list(self._ranges.get(server, ()))
        if ranges and ranges[-1][1] == wanted - 1:
            ranges[-1] = (ranges[-1][0], wanted)
        else:
            ranges = _merged([*ranges, (wanted, wanted)])
        made = type(self)("")
        made._ranges = {**self._ranges, server: ranges}
        return made

    def covers(self, other: Self) -> bool:
        return all(
            any(low <= first and last <= high for low, high in self._ranges.get(server, ()))
            for server, ranges in other._ranges.items()
            for first, last in ranges
        )

    def encoded(self) -> bytes:
        """As COM_BINLOG_DUMP_GTID takes it: ranges end before their second number."""
        out = len(self._ranges).to_bytes(8, "little")
        for server, ranges in self._ranges.items():
            out += bytes.fromhex(server.replace("-", "")) + len(ranges).to_bytes(8, "little")
            for first, last in ranges:
                out += first.to_bytes(8, "little") + (last + 1).to_bytes(8, "little")
        return out

    def __str__(self) -> str:
        return ",".join(
            ":".join([server, *(f"{first}-{last}" if last > first else str(first) for first, last in ranges)])
            for server, ranges in sorted(self._ranges.items())
        )


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out


Gtids = MariadbGtids | MysqlGtids


def gtids_of(text: str, *, is_mariadb: bool) -> Gtids:
    """The set that a text names. ValueError."""
    return MariadbGtids(text) if is_mariadb else MysqlGtids(text)
