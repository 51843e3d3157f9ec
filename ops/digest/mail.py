"""Handing mail in, as SORBUS_MAIL_... say."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.settings import Settings

_TIMEOUT = 30.0


class Outbox:
    """A connection to the mail server, open while its block lasts."""

    def __init__(self, server: smtplib.SMTP) -> None:
        self._server = server

    def send(self, mail: EmailMessage, address: str) -> None:
        """TransientError when the server can't take it now, SorbusError when it takes nothing for that address."""
        with _mail_errors(f"mail to {address}"):
            self._server.send_message(mail, to_addrs=[address])


@contextmanager
def outbox(settings: Settings) -> Iterator[Outbox]:
    """SorbusError when no mail server is named, TransientError when it doesn't answer, AuthError when it refuses us."""
    if not settings.mail_server or not settings.mail_from:
        raise SorbusError("no mail can be sent: set SORBUS_MAIL_SERVER (HOST:PORT) and SORBUS_MAIL_FROM")
    host, _, port = settings.mail_server.rpartition(":")
    with _mail_errors(f"the mail server {settings.mail_server}"):
        server = _connected(settings, host or port, int(port) if host and port.isdecimal() else 25)
    try:
        with _mail_errors(f"the mail server {settings.mail_server}"):
            if settings.mail_tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.mail_user:
                server.login(settings.mail_user, settings.read_mail_password())
        yield Outbox(server)
    finally:
        server.close()


def _connected(settings: Settings, host: str, port: int) -> smtplib.SMTP:
    if settings.mail_tls == "implicit":
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=_TIMEOUT)


@contextmanager
def _mail_errors(what: str) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise AuthError(f"{what}: refuses SORBUS_MAIL_USER: {_words(error)}") from error
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()))
        told = f"{what}: refused: {code} {words.decode(errors='replace')}"
        raise (TransientError(told) if code < 500 else SorbusError(f"{told}; mend the address in the map")) from error
    except smtplib.SMTPResponseException as error:
        told = f"{what}: {_words(error)}"
        raise (TransientError(told) if error.smtp_code < 500 else SorbusError(told)) from error
    except smtplib.SMTPNotSupportedError as error:
        raise SorbusError(f"{what}: {error}; see SORBUS_MAIL_TLS (starttls, implicit or off)") from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"{what}: {error}") from error


def _words(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
