"""A certificate in plain words."""

from __future__ import annotations

from collections import Counter

from sorbus.ops.certify.certificate import Certificate


def in_words(made: Certificate) -> list[str]:
    """The certificate for people, a line each."""
    lines = [f"{made.data_type} as of {made.as_of.astimezone():%Y-%m-%d %H:%M:%S %Z}, owner {made.owner}"]
    for each in made.flows:
        differ = len(each.differing)
        outcome = "agrees" if each.is_whole else "no difference found"
        if differ:
            outcome = (
                f"{'agrees but for' if each.is_whole else 'differs by'} {differ:,} record{'s' if differ != 1 else ''}"
            )
        moved = f"; {len(each.moved):,} were on their way and agree" if each.moved else ""
        lines.append(f"  {each.flow}: {each.records:,} records, {outcome}{moved}")
        for name, (owner, target) in each.totals.items():
            there = "" if owner == target else f" ({target.total} in {each.target} at that moment)"
            lines.append(f"    {name}: total {owner.total}{there}")
        lines += [f"    {one.kind} {one.id}: {one.why}" for one in each.differing[:20]]
        lines += [f"    {count:,}: {why}" for why, count in Counter(each.explained.values()).items()]
        lines += [
            f"    compared with what the topic held afterwards: {sentence}" for sentence in each.from_topic.fields
        ]
        lines += [f"    not compared: {sentence}" for sentence in each.not_compared]
        if undecided := len(each.undecided) + len(each.from_topic.undecided):
            lines.append(f"    {undecided:,} records change faster than they can be compared")
    lines += [f"  {flow}: not certified: {why}" for flow, why in made.not_certified.items()]
    lines.append("Certified: all systems agree." if made.agrees else f"Not certified in full: {_left(made)}.")
    return lines


def _left(made: Certificate) -> str:
    """What keeps it from being certified, counted."""
    counts = {
        "records differ": sum(len(each.differing) for each in made.flows),
        "records undecided": sum(len(each.undecided) + len(each.from_topic.undecided) for each in made.flows),
        "things not compared": sum(len(each.not_compared) for each in made.flows),
        "flows not certified": len(made.not_certified),
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
