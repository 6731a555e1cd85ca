"""What the service says: JSON lines on standard output, of whichever of its processes."""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """JSON lines on standard output, each in one write, so that those of several processes never mix."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
