"""Structured logs: one event is a snake_case name with fields, one line of JSON."""

import logging
import sys
from typing import Final, TextIO

import structlog

from ssmd.errors import ConfigError

Logger = structlog.typing.FilteringBoundLogger
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, to: TextIO | None = None, **fields: str) -> None:
    """Send every event as JSON to stdout (a role's) or elsewhere; `fields` (role, feed) stand in each of them."""
    if level not in LEVELS:
        raise ConfigError(f"log.level is {level!r}; allowed are {', '.join(LEVELS)}")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=to or sys.stdout),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)


def get_logger(**fields: str) -> Logger:
    logger: Logger = structlog.get_logger(**fields)
    return logger
