"""A digest as text and as HTML."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import format_datetime, formataddr, make_msgid
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from sorbus.ops.digest.items import Digest


def as_text(digest: Digest, company: str, console_url: str) -> str:
    """For terminals and mail readers without HTML."""
    return _render("digest.txt", digest, company, console_url)


def as_html(digest: Digest, company: str, console_url: str) -> str:
    """For browsers and mail readers; nothing in it is loaded from elsewhere."""
    return _render("digest.html", digest, company, console_url)


def as_mail(digest: Digest, company: str, console_url: str, sender: str, address: str) -> EmailMessage:
    """Ready to be sent, with both."""
    mail = EmailMessage()
    mail["Subject"] = subject_of(digest, company)
    mail["From"] = sender
    mail["To"] = formataddr((digest.contact.name, address)) if digest.contact else address
    mail["Date"] = format_datetime(digest.until)
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip(">") or "sorbus")
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(as_text(digest, company, console_url))
    mail.add_alternative(as_html(digest, company, console_url), subtype="html")
    return mail


def subject_of(digest: Digest, company: str) -> str:
    """What it is about, in a line."""
    count = digest.grave
    told = (
        f"{count} item{'s' * (count != 1)} need{'s' * (count == 1)} attention" if count else "nothing needs attention"
    )
    return f"Sorbus, {company}: {told}"


def _render(template: str, digest: Digest, company: str, console_url: str) -> str:
    until, since = digest.until.astimezone(), digest.since.astimezone()
    whose = f"{digest.contact.name}: {', '.join(digest.systems)}" if digest.contact else company
    return (
        _templates()
        .get_template(template)
        .render(
            digest=digest,
            console_url=console_url.rstrip("/"),
            subject=subject_of(digest, company),
            headline=f"{whose}, {until:%A %Y-%m-%d}: {subject_of(digest, company).partition(': ')[2]}",
            about=f"From {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M %Z}: what is new or closed is of that time."
            " Lines with a dash need no action. The map says who gets this: owner, escalate_to, responsible.",
        )
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
