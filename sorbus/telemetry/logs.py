"""Logs for people on a terminal and for machines elsewhere, with secrets redacted.

Every process calls `configure_logs` once. Our modules log by the standard library, as libraries do: the sentence with
its values as the message, what a machine may filter by in `extra`. A structlog logger writes the same lines.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from sorbus.control_characters import escaped
from sorbus.privacy.mask import masked_text

# structlog imports rich if installed, for tracebacks that nothing here draws: a sixth of each process's start.
_rich = sys.modules.get("rich")
sys.modules["rich"] = _rich  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

if _rich is None:
    del sys.modules["rich"]

HIDDEN = "***"
_LONGEST = 50_000
"""Maximum characters of a text: longer quotes by a library help nobody, and take time to search."""
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|credential|authorization|cookie|private_?key", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?P<before>://[^\s:/@]{0,200}:)(?P<password>[^\s\"'<>]{1,500})(?=@)")
_ASSIGNED = re.compile(
    r"(?P<before>[\"']?(?<![\w.-])[\w.-]*(?:password|passwd|secret|token|api_?key|authorization)\b[\"']?\s*[=:]\s*)"
    r"(?P<value>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|(?:(?:Bearer|Basic)\s+)?[^\s,;&}]+)",
    re.IGNORECASE,
)
# A URL's own @ is matched by the first alternative: what precedes it is not a mail address.
_EMAIL = re.compile(
    r"://\S+|(?P<email>(?<![\w.!#$%&*+/=?^`{|}~-])[\w.!#$%&*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<before>Bearer|Basic)\s+[A-Za-z0-9+/._~-]{8,}=*", re.IGNORECASE)


def configure_logs(
    process: str, *, level: str = "INFO", stream: TextIO | None = None, json: bool | None = None
) -> None:
    """Sends all logs to `stream` (standard error), each line naming `process`, such as `consume order-to-reporting`.

    Lines are JSON unless the stream is a terminal; SORBUS_LOGS=json|console, or `json`, overrides that. Lines for
    people omit the process's name. Calling it again replaces the configuration.
    """
    target = stream if stream is not None else sys.stderr
    if json is None:
        json = {"json": True, "console": False}.get(os.environ.get("SORBUS_LOGS", ""), not target.isatty())
    as_json, has_colours = json, target.isatty() or "FORCE_COLOR" in os.environ

    def name_the_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if as_json:
            event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=as_json),
        name_the_process,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        last += [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    else:
        # A traceback is rendered to text first, so that the redaction sees it too.
        renderer = structlog.dev.ConsoleRenderer(colors=has_colours)
        last += [structlog.processors.format_exc_info, redact, _for_a_terminal, renderer]

    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # It logs every argument of a call that it retries; the caller logs what matters.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)


def name_this_thread(process: str) -> None:
    """Lines of this thread name `process`, where the process runs several."""
    structlog.contextvars.bind_contextvars(process=process)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The structlog processor that hides secrets: by key, and inside texts (connection strings, headers, key=value)."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _for_a_terminal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """No value of a record moves the cursor, or makes lines that look like others: further lines are indented."""
    for key in ("event", "exception"):
        if isinstance(text := event.get(key), str):
            event[key] = escaped(text, lines=True).replace("\n", "\n    ")
    return event


def redact_text(text: str) -> str:
    """`text` without the passwords of URLs and of key=value or key: value pairs, without bearer tokens, and with
    e-mail addresses masked: the last safeguard for what a library may quote; our own messages are masked at their
    origin.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    text = _URL_PASSWORD.sub(rf"\g<before>{HIDDEN}", text)
    text = _ASSIGNED.sub(rf"\g<before>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<before> {HIDDEN}", text)
    return _EMAIL.sub(lambda found: masked_text(found[0]) if found["email"] else found[0], text)


def _redacted(key: str, value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _redacted(str(name), item) for name, item in value.items()}
    if value is not None and _SECRET_KEY.search(key):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    if isinstance(value, list | tuple):
        return [_redacted(key, item) for item in value]
    return value
