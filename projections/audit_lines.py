"""An event as an auditor gets it: one line of JSON with all that its hash is made of."""

import base64

import msgspec

from services.event_log import Record
from services.event_log.record import body_hash
from services.events import ACTIONS
from services.instants import format_instant

_SEPARATORS = [(one.encode(), f"\\u{ord(one):04x}".encode()) for one in "\x85\u2028\u2029"]


def line(record: Record, with_body: bool = True) -> bytes:
    """The header, both hashes in hex, and the stored body, sealed texts and all, as a string.

    `case_id` is null for what belongs to no case; `stream` is what the hash binds. A body that is no text (no event of
    this service's own) is given as `body_base64`. Ends with a line feed.
    """
    told = {
        "position": record.position,
        "recorded_at": format_instant(record.recorded_at),
        "case_id": str(record.stream) if record.name in ACTIONS else None,
        "stream": str(record.stream),
        "version": record.version,
        "type": record.name,
        "schema": record.schema,
        "actor": record.actor,
        "region": record.region,
        "header_hash": record.header_hash.hex(),
        "body_hash": body_hash(record.body).hex(),
    }
    if with_body:
        try:
            told["body"] = record.body.decode()
        except UnicodeDecodeError:
            told["body_base64"] = base64.b64encode(record.body).decode()
    return _escaped(msgspec.json.encode(told)) + b"\n"


def _escaped(document: bytes) -> bytes:
    """With the separators escaped that many a reader takes for the end of a line."""
    for separator, written in _SEPARATORS:
        document = document.replace(separator, written)
    return document
