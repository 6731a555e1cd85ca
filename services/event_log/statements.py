"""The SQL of the event log. Arrays in, so that a batch of any size is one statement."""

from services.event_log.privileges import SETTING

LOCK_HEAD = "SELECT position, recorded_at, epoch, tree_size, peaks FROM ledger_head FOR UPDATE"

READ_HEAD = "SELECT position, recorded_at, epoch FROM ledger_head"

READ_TREE = "SELECT ledger_id, epoch, position, recorded_at, tree_size, peaks FROM ledger_head"

IS_WRITABLE = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"

# Everything that a batch's fate depends on, in one statement: rows of one shape, told apart by the first column.
# LATERAL … LIMIT 1 keeps each probe a walk down one index, whatever the planner thinks of an array's length.
VERSION, ANSWER, DATA_KEY, CLAIM, NUMBER, SIMILAR, ERASED = range(7)

LOOK = f"""
SELECT {VERSION}, asked.stream, last.version, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::int2, NULL::int8,
    NULL::timestamptz
FROM unnest(%b::uuid[]) AS asked (stream)
CROSS JOIN LATERAL (
    SELECT version FROM events WHERE stream = asked.stream ORDER BY version DESC LIMIT 1
) AS last
UNION ALL
SELECT {ANSWER}, i.stream, i.version, i.subject, i.key, i.digest, i.document, i.status, i.position, NULL
FROM unnest(%b::text[], %b::text[]) AS asked (subject, key)
CROSS JOIN LATERAL (
    SELECT * FROM idempotency_keys AS k WHERE k.subject = asked.subject AND k.key = asked.key LIMIT 1
) AS i
UNION ALL
SELECT {DATA_KEY}, d.key_id, NULL, NULL, NULL, d.wrapped, d.person, NULL, NULL, NULL
FROM unnest(%b::uuid[]) AS asked (key_id)
CROSS JOIN LATERAL (SELECT * FROM data_keys AS k WHERE k.key_id = asked.key_id LIMIT 1) AS d
UNION ALL
SELECT {DATA_KEY}, d.key_id, NULL, NULL, NULL, d.wrapped, d.person, NULL, NULL, NULL
FROM unnest(%b::bytea[]) AS asked (person)
CROSS JOIN LATERAL (SELECT * FROM data_keys AS k WHERE k.person = asked.person LIMIT 1) AS d
UNION ALL
SELECT {ERASED}, e.key_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest(%b::uuid[]) AS asked (key_id)
CROSS JOIN LATERAL (SELECT * FROM erased_keys AS k WHERE k.key_id = asked.key_id LIMIT 1) AS e
UNION ALL
SELECT {CLAIM}, c.stream, NULL, c.region, c.reference, NULL, NULL, NULL, NULL, NULL
FROM unnest(%b::text[], %b::text[]) AS asked (region, reference)
CROSS JOIN LATERAL (
    SELECT * FROM external_references AS r WHERE r.region = asked.region AND r.reference = asked.reference LIMIT 1
) AS c
UNION ALL
SELECT {NUMBER}, NULL, last, region, day, NULL, NULL, NULL, NULL, NULL
FROM case_numbers WHERE region = ANY(%b::text[])
UNION ALL
SELECT {SIMILAR}, s.stream, asked.place::int4, s.case_no, NULL, NULL, NULL, NULL, NULL, s.opened_at
FROM unnest(%b::text[], %b::text[], %b::timestamptz[])
    WITH ORDINALITY AS asked (project, category, opened_at, place)
CROSS JOIN LATERAL (
    SELECT * FROM case_ids AS k
    WHERE k.is_open AND k.project = asked.project AND k.category = asked.category
        AND k.opened_at BETWEEN asked.opened_at - interval '720 hours' AND asked.opened_at + interval '720 hours'
    ORDER BY k.opened_at DESC LIMIT 10
) AS s
"""

STORED_ANSWER = """
SELECT digest, status, stream, version, position, document FROM idempotency_keys WHERE subject = %b AND key = %b
"""

STORED_ANSWERS = """
SELECT key, digest, status, stream, version, position, document
FROM idempotency_keys WHERE subject = %b AND key = ANY(%b::text[])
"""

CASES_BY_REFERENCE = """
SELECT reference, stream FROM external_references
WHERE reference = ANY(%b::text[]) AND (%b OR region = ANY(%b::text[]))
"""

DATA_KEYS = "SELECT key_id, person, wrapped FROM data_keys WHERE key_id = ANY(%b::uuid[])"

# Files that were made lie sealed, but not under the keys that are gone.
DESTROY = """
WITH gone AS (DELETE FROM data_keys WHERE key_id = ANY(%b::uuid[]) RETURNING key_id),
    files AS (DELETE FROM jobs WHERE file_name IS NOT NULL AND EXISTS (SELECT FROM gone))
INSERT INTO erased_keys (key_id) SELECT * FROM unnest(%b::uuid[]) ON CONFLICT DO NOTHING
"""

ERASED_KEYS = "SELECT key_id FROM erased_keys"

ERASED_OF = "SELECT key_id FROM erased_keys WHERE key_id = ANY(%b::uuid[])"

IS_STORED = "SELECT header_hash FROM events WHERE position = %b"

# All that a batch leaves behind, in one statement. Notifying inside the transaction takes a lock until it has
# committed, but whoever appends holds the head's lock for as long anyway.
_STORE = """
WITH stored AS (
    INSERT INTO events (position, stream, version, name, schema, actor, region, recorded_at, body, header_hash)
    SELECT * FROM unnest(
        %b::int8[], %b::uuid[], %b::int4[], %b::text[], %b::int2[],
        %b::text[], %b::text[], %b::timestamptz[], %b::bytea[], %b::bytea[]
    )
), answered AS (
    INSERT INTO idempotency_keys (subject, key, digest, status, stream, version, position, document, stored_at)
    SELECT *, %b::timestamptz FROM unnest(
        %b::text[], %b::text[], %b::bytea[], %b::int2[], %b::uuid[], %b::int4[], %b::int8[], %b::bytea[]
    )
), keyed AS (
    INSERT INTO data_keys (key_id, person, wrapped) SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[])
), claimed AS (
    INSERT INTO external_references (region, reference, stream)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])
), numbered AS (
    INSERT INTO case_numbers (region, day, last) SELECT * FROM unnest(%b::text[], %b::text[], %b::int4[])
    ON CONFLICT (region) DO UPDATE SET day = excluded.day, last = excluded.last
), named AS (
    INSERT INTO case_ids (case_no, stream, project, category, opened_at, is_open)
    SELECT * FROM unnest(%b::text[], %b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::bool[])
), moved AS (
    UPDATE ledger_head SET position = %b, recorded_at = %b, tree_size = %b, peaks = %b
){turned}{grown}
SELECT pg_notify('anjuan', %b)
"""

# Only few batches close or reopen cases, or complete a subtree: the others need not pay for an update of nothing.
_TURNED = """, turned AS (
    UPDATE case_ids AS c SET is_open = said.is_open
    FROM unnest(%b::uuid[], %b::bool[]) AS said (stream, is_open)
    WHERE c.stream = said.stream AND c.is_open <> said.is_open
)"""

_GROWN = """, grown AS (
    INSERT INTO tree_nodes (level, index, hash) SELECT * FROM unnest(%b::int2[], %b::int8[], %b::bytea[])
    ON CONFLICT (level, index) DO UPDATE SET hash = excluded.hash
)"""

STORE = _STORE.format(turned="", grown="")
STORE_AND_GROW = _STORE.format(turned="", grown=_GROWN)
STORE_AND_TURN = _STORE.format(turned=_TURNED, grown="")
STORE_TURN_AND_GROW = _STORE.format(turned=_TURNED, grown=_GROWN)

_COLUMNS = "position, stream, version, name, schema, actor, region, recorded_at, body, header_hash"

_OF_A_STREAM = f"SELECT {_COLUMNS} FROM events WHERE stream = %b AND version > %b"

PAGE = f"{_OF_A_STREAM} ORDER BY version LIMIT %b"

_OF_STREAMS = f"""
    SELECT {", ".join("e." + name for name in _COLUMNS.split(", "))}
    FROM unnest(%b::uuid[], %b::int4[]) AS known (stream, version)
    JOIN events AS e ON e.stream = known.stream AND e.version > known.version
"""

# As the index of theirs has them.
OF_THE_DIRECTORY = ("region_described", "project_described")

_OF_THE_DIRECTORY = f"SELECT {_COLUMNS} FROM events WHERE name IN {OF_THE_DIRECTORY} AND position > %b"


def _below_the_head(query: str) -> str:
    """The head and what is found, in one look at both; found nothing, one row with the head alone.

    In one statement: for each further one in a round trip the caller works as long again as for all else (measured).
    """
    return f"""
SELECT head.position, head.recorded_at, head.epoch, found.* FROM ledger_head AS head
LEFT JOIN LATERAL ({query}) AS found ON true ORDER BY found.position
"""


HISTORY = _below_the_head(_OF_A_STREAM)

HISTORIES = _below_the_head(_OF_STREAMS)

NEWS = _below_the_head(f"{_OF_STREAMS} UNION ALL {_OF_THE_DIRECTORY}")

# In the transaction from here on; a connection's own setting holds again behind it.
SEEING = f"SELECT set_config('{SETTING}', %b, true)"
# Of streams those whose first event is seen in some regions. LATERAL, and neither part pulled up, so that the regions
# are set before the events are looked at; they stay so to the end of the transaction.
SEEN_OF = f"""
SELECT seen.stream FROM (SELECT set_config('{SETTING}', %b, true) AS regions OFFSET 0) AS told
CROSS JOIN LATERAL (
    SELECT e.stream FROM events AS e
    WHERE told.regions IS NOT NULL AND e.stream = ANY(%b::uuid[]) AND e.version = 1 OFFSET 0
) AS seen
"""

AT_PLACES = f"""
SELECT {", ".join("e." + name for name in _COLUMNS.split(", "))}
FROM unnest(%b::uuid[], %b::int4[]) AS place (stream, version)
JOIN events AS e ON e.stream = place.stream AND e.version = place.version
"""

HISTORIES_UNTIL = f"""
SELECT {", ".join("e." + name for name in _COLUMNS.split(", "))}
FROM unnest(%b::uuid[]) AS known (stream)
JOIN events AS e ON e.stream = known.stream AND e.position <= %b
ORDER BY e.stream, e.version
"""

BY_STREAM = f"""
SELECT {_COLUMNS} FROM events WHERE (stream, version) > (%b, %b) AND position <= %b ORDER BY stream, version LIMIT %b
"""

LEAVES = "SELECT position, header_hash FROM events WHERE position > %b AND position <= %b ORDER BY position"

LEAVES_OF = """
SELECT e.position, e.header_hash FROM unnest(%b::int8[], %b::int8[]) AS asked (first, last)
JOIN events AS e ON e.position > asked.first AND e.position <= asked.last
"""

NODES_OF = """
SELECT n.level, n.index, n.hash FROM unnest(%b::int2[], %b::int8[], %b::int8[]) AS asked (level, first, last)
JOIN tree_nodes AS n ON n.level = asked.level AND n.index >= asked.first AND n.index < asked.last
"""

BETWEEN = f"""
SELECT {_COLUMNS} FROM events
WHERE position > %b AND position <= %b AND (%b OR region = ANY(%b::text[])) ORDER BY position LIMIT %b
"""

RECORDED_AT = "SELECT recorded_at FROM events WHERE position = %b"

AFTER = f"SELECT {_COLUMNS} FROM events WHERE position > %b ORDER BY position LIMIT %b"

DIRECTORY_AFTER = f"{_OF_THE_DIRECTORY} ORDER BY position"

FORGET_OLD_ANSWERS = "DELETE FROM idempotency_keys WHERE stored_at < %b"

CASE_BY_NUMBER = "SELECT stream FROM case_ids WHERE case_no = %b"
