"""Sending mail by SMTP, as SORBUS_MAIL_... say."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import BinaryIO

from sorbus.errors import AuthError, SorbusError, TransientError
from sorbus.settings import Settings

_TIMEOUT, _WHOLE = 30.0, 60.0
"""Seconds for one read, and for all of a login or of one mail."""
_LARGEST = 1024 * 1024
"""Bytes that a server may say in one conversation; a reply has some dozen lines."""


class Outbox:
    """A connection to the mail server, open while its block lasts."""

    def __init__(self, server: _Bounded) -> None:
        self._server = server

    def send(self, mail: EmailMessage, address: str) -> None:
        """TransientError when the server can't take it now, SorbusError when it takes nothing for that address."""
        with _mail_errors(f"mail to {address}"), self._server.within(_WHOLE):
            self._server.send_message(mail, to_addrs=[address])


@contextmanager
def outbox(settings: Settings) -> Iterator[Outbox]:
    """SorbusError when no mail server is named, TransientError when it doesn't answer, AuthError when it refuses us."""
    if not settings.mail_server or not settings.mail_from:
        raise SorbusError("no mail can be sent: set SORBUS_MAIL_SERVER (HOST:PORT) and SORBUS_MAIL_FROM")
    host, _, port = settings.mail_server.rpartition(":")
    what = f"the mail server {settings.mail_server}"
    server = _Implicit(timeout=_TIMEOUT) if settings.mail_tls == "implicit" else _Bounded(timeout=_TIMEOUT)
    try:
        with _mail_errors(what), server.within(_WHOLE):
            server.greet(host or port, int(port) if host and port.isdecimal() else 25)
            if settings.mail_tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.mail_user:
                server.login(settings.mail_user, settings.read_mail_password())
        yield Outbox(server)
    finally:
        server.close()


class _Bounded(smtplib.SMTP):
    """A conversation with two limits: bytes that the server may say, and the clock, which smtplib has for each read."""

    _line: socket.socket | None = None
    heard = 0

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cuts the connection when the block takes longer; that is a TimeoutError."""
        late = threading.Event()

        def cut() -> None:
            late.set()
            if (line := self._line) is not None:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (smtplib.SMTPException, OSError) as error:
            if late.is_set():
                raise TimeoutError(f"it took more than {seconds:.0f} s in all") from error
            raise
        finally:
            timer.cancel()

    def greet(self, host: str, port: int) -> None:
        """Connects, and reads what the server says first."""
        self._host = host  # what its certificate must name
        code, words = self.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        found = socket.create_connection((host, port), timeout, self.source_address)
        self._line = socket.socket(fileno=os.dup(found.fileno()))  # TLS takes the other one over
        return found

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Counted(self.sock.makefile("rb"), self)
        return super().getreply()

    def close(self) -> None:
        super().close()
        if self._line is not None:
            self._line.close()
            self._line = None


class _Implicit(_Bounded):
    """Within TLS from the first byte (RFC 8314)."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        found = super()._get_socket(host, port, timeout)
        return ssl.create_default_context().wrap_socket(found, server_hostname=host)


class _Counted:
    """A reader of replies that ends when they grow too large."""

    def __init__(self, file: BinaryIO, server: _Bounded) -> None:
        self._file, self._server = file, server

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self._server.heard += len(line)
        if self._server.heard > _LARGEST:
            raise OSError(f"it says more than {_LARGEST:,} bytes")
        return line

    def close(self) -> None:
        self._file.close()


@contextmanager
def _mail_errors(what: str) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise AuthError(f"{what}: rejects SORBUS_MAIL_USER: {_words(error)}") from error
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()))
        told = f"{what}: refused: {code} {words.decode(errors='replace')}"
        raise (
            TransientError(told) if code < 500 else SorbusError(f"{told}; correct the address in the map")
        ) from error
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
