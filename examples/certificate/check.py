"""Checks a certificate of `sorbus certify` with nothing but Python: python check.py FILE.

From both sides' sums it takes the digests of every record that the file names; what is left must be equal, segment by
segment, or a record differs that isn't named. The same for the totals of number fields. That the records called moved
agree by now is the word of who made the file. Exit code 0: nothing is unexplained, 1: something is, 2: not a
certificate.
"""

import hashlib
import json
import sys
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Context, Decimal

_EXACT = Context(prec=1000)


def numbers(side, name):
    """A field's numbers on one side: of no row, of one, or of several with one key."""
    rows = side if isinstance(side, list) else [side] if side else []
    return [Decimal(row[name]) for row in rows if row.get(name) is not None]


def unexplained(flow):
    """What the named records don't explain, a sentence each."""
    taken = {"owner": defaultdict(lambda: [0, 0]), "target": defaultdict(lambda: [0, 0])}
    for one in flow["suspects"]:
        if one["owner"] == one["target"]:
            yield f"{one['id']} is named, but its digests are equal"
        if not 0 <= one["segment"] < flow["segments"]:
            yield f"{one['id']} is in segment {one['segment']}, of {flow['segments']}"
        if one["part"] not in flow["sums"]:
            yield f"{one['id']} is of {one['part']}, which has no sums"
        for side in ("owner", "target"):
            for rows, digest in one[side]:
                place = taken[side][one["part"], one["segment"]]
                place[0] += rows
                place[1] += digest
    for part, sums in flow["sums"].items():
        left = {}
        for side in ("owner", "target"):
            known = {segment: (records, total) for segment, records, total in sums[side]}
            if len(known) != len(sums[side]):
                yield f"a segment of {part or 'records'} is there twice"
            left[side] = {}
            for segment in known.keys() | {place for of, place in taken[side] if of == part}:
                records, total = known.get(segment, (0, 0))
                less_records, less_total = taken[side][part, segment]
                left[side][segment] = (records - less_records, total - less_total)
        for segment in left["owner"].keys() | left["target"].keys():
            mine, theirs = (left[side].get(segment, (0, 0)) for side in ("owner", "target"))
            if mine != theirs:
                yield f"segment {segment} of {part or 'records'} differs by records that aren't named"
    for name, total in flow["totals"].items():
        left_over = _EXACT.subtract(Decimal(total["owner"][1]), Decimal(total["target"][1]))
        count = total["owner"][0] - total["target"][0]
        for owner, target in flow["values"].values():
            for mine in numbers(owner, name):
                left_over, count = _EXACT.subtract(left_over, mine), count - 1
            for theirs in numbers(target, name):
                left_over, count = _EXACT.add(left_over, theirs), count + 1
        if left_over or count:
            yield f"the total of {name} differs by {left_over} and {count} values that no named record explains"
    named = {one["id"] for one in flow["suspects"]}
    concluded = [*flow["moved"], *(one["id"] for one in flow["differences"]), *flow["undecided"]]
    concluded += flow.get("explained", {})
    for id in sorted(named ^ set(concluded)):
        yield f"{id} is named without a conclusion, or the other way round"
    for id in sorted(id for id, times in Counter(concluded).items() if times > 1):
        yield f"{id} has more than one conclusion"
    for id in sorted(flow["values"].keys() - named):
        yield f"{id} explains totals and isn't named"


def check(content):
    """Prints what the certificate says and what is wrong with it; whether nothing is."""
    digest = content.pop("sha256", "")
    if digest != hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest():
        print("the file was changed after it was made: its SHA-256 is another one")
        return False
    print(f"{content['data_type']} of {content['company']}, owner {content['owner']}, as of {content['as_of']}")
    names = [*(flow["flow"] for flow in content["flows"]), *content["not_certified"]]
    is_sound = bool(names) and len(names) == len(set(names))
    if not is_sound:
        print(f"it has no flow, or one twice: {', '.join(names)}")
    if datetime.fromisoformat(content["as_of"]) > datetime.fromisoformat(content["made_at"]):
        print("it was made before the moment that it is about")
        is_sound = False
    for flow in content["flows"]:
        records = sum(records for _, records, _ in flow["sums"][""]["owner"])
        faults = list(unexplained(flow))
        is_sound = is_sound and not faults
        counts = {name: len(flow[name]) for name in ("differences", "undecided", "moved")}
        print(f"{flow['flow']} into {flow['target']}: {records:,} records, {counts}, {len(faults)} unexplained")
        apart = flow.get("from_topic", {"fields": [], "differences": [], "undecided": []})
        for sentence in (*faults, *(f"not compared: {each}" for each in flow["not_compared"])):
            print(f"  {sentence}")
        for sentence in apart["fields"]:
            print(f"  in no sum, compared with what the topic held: {sentence}")
        if apart["differences"] or apart["undecided"]:
            print(f"  of those, {len(apart['differences'])} records differ, {len(apart['undecided'])} are undecided")
        for why, count in Counter(flow.get("explained", {}).values()).items():
            print(f"  {count}: {why}")
    for flow, why in content["not_certified"].items():
        print(f"{flow}: not certified: {why}")
    return is_sound


def main():
    """Reads the file."""
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            content = json.load(file)
        if content["format"] != "sorbus-certificate-1":
            raise ValueError(content["format"])
        return 0 if check(content) else 1
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        print(f"not a certificate: {error!r}; python check.py FILE", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
