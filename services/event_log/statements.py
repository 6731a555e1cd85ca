"""The SQL of the event log. Arrays in, so that a batch of any size is one statement."""

LOCK_HEAD = "SELECT position, recorded_at, epoch FROM ledger_head FOR UPDATE"

READ_HEAD = "SELECT position, recorded_at, epoch FROM ledger_head"

# LATERAL … LIMIT 1 keeps each a walk down one index, whatever the planner thinks of the array's length.
LAST_VERSIONS = """
SELECT asked.stream, last.version
FROM unnest(%b::uuid[]) AS asked (stream)
CROSS JOIN LATERAL (
    SELECT version FROM events WHERE stream = asked.stream ORDER BY version DESC LIMIT 1
) AS last
"""

STORED_ANSWERS = """
SELECT asked.subject, asked.key, found.*
FROM unnest(%b::text[], %b::text[]) AS asked (subject, key)
CROSS JOIN LATERAL (
    SELECT digest, status, stream, version, position, document
    FROM idempotency_keys AS i WHERE i.subject = asked.subject AND i.key = asked.key LIMIT 1
) AS found
"""

CLAIMS = """
SELECT region, reference, stream FROM external_references
WHERE (region, reference) IN (SELECT * FROM unnest(%b::text[], %b::text[]))
"""

NUMBERS = "SELECT region, day, last FROM case_numbers WHERE region = ANY(%b::text[])"

# Two probes rather than OR: each keeps its own index.
DATA_KEYS = """
SELECT key_id, person, wrapped FROM data_keys WHERE key_id = ANY(%b::uuid[])
UNION
SELECT key_id, person, wrapped FROM data_keys WHERE person = ANY(%b::bytea[])
"""

IS_STORED = "SELECT header_hash FROM events WHERE position = %b"

INSERT_EVENTS = """
INSERT INTO events (position, stream, version, name, schema, actor, region, recorded_at, body, header_hash)
SELECT * FROM unnest(
    %b::int8[], %b::uuid[], %b::int4[], %b::text[], %b::int2[],
    %b::text[], %b::text[], %b::timestamptz[], %b::bytea[], %b::bytea[]
)
"""

INSERT_ANSWERS = """
INSERT INTO idempotency_keys (subject, key, digest, status, stream, version, position, document, stored_at)
SELECT *, %b::timestamptz FROM unnest(
    %b::text[], %b::text[], %b::bytea[], %b::int2[], %b::uuid[], %b::int4[], %b::int8[], %b::bytea[]
)
"""

INSERT_CLAIMS = """
INSERT INTO external_references (region, reference, stream)
SELECT * FROM unnest(%b::text[], %b::text[], %b::uuid[])
"""

INSERT_DATA_KEYS = """
INSERT INTO data_keys (key_id, person, wrapped) SELECT * FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[])
"""

MOVE_NUMBERS = """
INSERT INTO case_numbers (region, day, last) SELECT * FROM unnest(%b::text[], %b::text[], %b::int4[])
ON CONFLICT (region) DO UPDATE SET day = excluded.day, last = excluded.last
"""

INSERT_CASE_IDS = """
INSERT INTO case_ids (case_no, stream) SELECT * FROM unnest(%b::text[], %b::uuid[])
"""

MOVE_HEAD = "UPDATE ledger_head SET position = %b, recorded_at = %b"

_COLUMNS = "position, stream, version, name, schema, actor, region, recorded_at, body, header_hash"

HISTORY = f"SELECT {_COLUMNS} FROM events WHERE stream = %b AND version > %b ORDER BY version"

PAGE = f"{HISTORY} LIMIT %b"

HISTORIES = f"""
SELECT {', '.join('e.' + name for name in _COLUMNS.split(', '))}
FROM unnest(%b::uuid[], %b::int4[]) AS known (stream, version)
JOIN events AS e ON e.stream = known.stream AND e.version > known.version
ORDER BY e.stream, e.version
"""

AFTER = f"SELECT {_COLUMNS} FROM events WHERE position > %b ORDER BY position LIMIT %b"

DIRECTORY_AFTER = f"""
SELECT {_COLUMNS} FROM events
WHERE name IN ('region_described', 'project_described') AND position > %b ORDER BY position
"""

FORGET_OLD_ANSWERS = "DELETE FROM idempotency_keys WHERE stored_at < %b"

CASE_BY_NUMBER = "SELECT stream FROM case_ids WHERE case_no = %b"
