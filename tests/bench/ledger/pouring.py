"""A plan of who is copied when, and pouring it into a migrated, empty database by COPY."""

import multiprocessing
from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg

from services.event_log.merkle import Frontier
from services.event_log.record import header_hash
from tests.bench.ledger import stories
from tests.bench.ledger.moulds import STAFF, Copy, Mould, cast, customer_phone, instant, staff_phone
from tests.bench.ledger.places import Described, Project, directory, projects
from tests.bench.ledger.sealing import Sealer
from tests.bench.ledger.stories import Story

_BEIJING = ZoneInfo("Asia/Shanghai")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MICROSECOND = timedelta(microseconds=1)
_SPAN = timedelta(days=548)
_DAY = 86_400_000_000
_AT_ONCE = 20_000
# Of how many cases one is a mass complaint, and how many different stories there are of each kind.
_MASS_OF = 2_500
_MOULDS = {stories.everyday: 400, stories.widespread: 30, stories.merged: 20, stories.corrected: 20}
_SHARES = {stories.everyday: 0.975, stories.widespread: 0.005, stories.merged: 0.01, stories.corrected: 0.01}
# A story's number, then its piece's, below an instant in one sortable number.
_PIECE, _STORY = 14, 28


class Order(NamedTuple):
    """What to make. `until`: nothing is recorded after it."""

    actions: int
    cases: int
    until: datetime
    seed: int = 1


class Casting(NamedTuple):
    """Which story is copied, when it begins (µs since 1970), and where."""

    mould: int
    begin: int
    project: int


class Plan(NamedTuple):
    """Everything in its place: of each position the copy, the piece and when it is recorded; the cases' numbers."""

    seed: bytes
    moulds: Sequence[Mould]
    projects: Sequence[Project]
    castings: Sequence[Casting]
    copies: "array[int]"
    pieces: "array[int]"
    recorded: "array[int]"
    numbers: dict[tuple[int, int], str]
    customers: int
    described: Sequence[Described]

    def copy(self, number: int) -> Copy:
        casting = self.castings[number]
        code = self.projects[casting.project].code.encode()
        return Copy(number, casting.begin, code, self.moulds[casting.mould], self.seed, self.customers)


def planned(order: Order, sealer: Sealer) -> Plan:
    """The plan of a ledger with so many actions, of about so many cases."""
    seed = seed_of(order.seed)
    rng = Random(order.seed)
    moulds, kinds = _cast(rng, order.cases)
    until = (order.until - _EPOCH) // _MICROSECOND
    since = until - _SPAN // _MICROSECOND
    castings = _castings(rng, order, moulds, kinds, since, until)
    keys = [
        (casting.begin + piece.recorded) << _STORY + _PIECE | number << _PIECE | at
        for number, casting in enumerate(castings)
        for at, piece in enumerate(moulds[casting.mould].pieces)
        if casting.begin + piece.recorded <= until
    ]
    keys.sort()
    if len(keys) < order.actions:
        raise ValueError(f"{order.cases} cases have only {len(keys)} actions")
    del keys[order.actions :]
    described = list(directory(instant(since - 2 * _DAY), sealer))
    first = since - _DAY
    recorded = array("q", range(first, first + len(described)))
    copies = array("i", [-1] * len(described))
    pieces = array("i", range(len(described)))
    for key in keys:
        recorded.append(max(key >> _STORY + _PIECE, recorded[-1] + 1))
        copies.append(key >> _PIECE & (1 << _STORY) - 1)
        pieces.append(key & (1 << _PIECE) - 1)
    customers = max(1_000, order.cases // 2)
    plan = Plan(seed, moulds, projects(), castings, copies, pieces, recorded, {}, customers, described)
    _number(plan)
    return plan


def pour(plan: Plan, url: str, sealer: Sealer, processes: int = 2) -> None:
    """Fill the database; it is a ledger once its head has moved, at the very end."""
    size = len(plan.recorded)
    parts = [(start, min(start + _AT_ONCE, size)) for start in range(0, size, _AT_ONCE)]
    with multiprocessing.get_context("fork").Pool(processes, _inherit, (plan, url, sealer)) as pool:
        beside = pool.apply_async(_beside)
        for _ in pool.imap_unordered(_part, parts):
            pass
        beside.get()
    with psycopg.connect(url) as connection:
        head = "UPDATE ledger_head SET position = %s, recorded_at = %s"
        connection.execute(head, [size, instant(plan.recorded[-1])])
        if connection.execute("SELECT FROM pg_tables WHERE tablename = 'tree_nodes'").fetchone() is not None:
            _plant(connection)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _plant(connection: psycopg.Connection[Any]) -> None:
    """The tree over what was poured, as appends would have left it."""
    tree = Frontier()
    with connection.cursor("leaves") as leaves:
        leaves.itersize = 10_000
        leaves.execute("SELECT header_hash FROM events ORDER BY position")
        tree.append(digest for (digest,) in leaves)
    rows = ((node.level, node.number, digest) for node, digest in tree.completed)
    _copy(connection, "tree_nodes", ("int2", "int8", "bytea"), rows)
    connection.execute("UPDATE ledger_head SET tree_size = %s, peaks = %s", [tree.size, tree.peaks])


# Planning ---------------------------------------------------------------------------------------------------------


def seed_of(seed: int) -> bytes:
    return blake2b(b"ledger %d" % seed, digest_size=32).digest()


def _cast(rng: Random, cases: int) -> tuple[list[Mould], dict[Story, range]]:
    """The moulds, and where in their list those of each kind are."""
    moulds: list[Mould] = []
    kinds: dict[Story, range] = {}
    few = max(1, round(cases / 1_000))
    wanted = {kind: min(number, 20 * few) for kind, number in _MOULDS.items()}
    wanted[stories.mass] = min(24, round(cases / _MASS_OF))
    for kind, number in wanted.items():
        kinds[kind] = range(len(moulds), len(moulds) + number)
        moulds += [cast(kind(Random(rng.getrandbits(64)))) for _ in range(number)]
    return moulds, kinds


def _castings(
    rng: Random, order: Order, moulds: Sequence[Mould], kinds: dict[Story, range], since: int, until: int
) -> list[Casting]:
    """Mass complaints first; then whatever brings the actions of a case near what was asked for."""
    found: list[Casting] = []
    cases, actions = 0, 0
    masses = round(order.cases / _MASS_OF) if kinds[stories.mass] else 0
    names, weights = list(_SHARES), list(_SHARES.values())
    while cases < order.cases or actions < order.actions:
        if len(found) < masses:
            mould = rng.choice(kinds[stories.mass])
        else:
            (kind,) = rng.choices(names, weights)
            mould = _steered(rng, kinds[kind], moulds, order, cases, actions)
        begin = since + int((until - since) * rng.random()) // _DAY * _DAY + _hour(rng)
        # What is opened on the last day may not have been recorded yet.
        if begin >= until:
            begin -= _DAY
        found.append(Casting(mould, begin, _project(rng)))
        kept = [piece for piece in moulds[mould].pieces if begin + piece.recorded <= until]
        cases += sum(piece.version == 1 for piece in kept)
        actions += len(kept)
    return found


def _steered(rng: Random, among: range, moulds: Sequence[Mould], order: Order, cases: int, actions: int) -> int:
    """Of two the longer if the cases have been too short so far, else the shorter."""
    two = sorted((rng.choice(among), rng.choice(among)), key=lambda one: len(moulds[one].pieces))
    left = (order.actions - actions) / max(1, order.cases - cases)
    return two[left > len(moulds[two[0]].pieces)]


def _hour(rng: Random) -> int:
    """Mostly by day (UTC+8)."""
    hour = rng.triangular(0, 15, 3) if rng.random() < 0.93 else rng.uniform(15, 24)
    return int(hour * 3600e6)


def _project(rng: Random) -> int:
    """Some have many more than others."""
    return min(int(rng.paretovariate(0.9) * 12 + rng.random() * 120), 199)


def _number(plan: Plan) -> None:
    """Case numbers in the order of recording: per region and day (Asia/Shanghai)."""
    last: dict[tuple[str, str], int] = {}
    for copy, at, recorded in zip(plan.copies, plan.pieces, plan.recorded, strict=True):
        if copy < 0 or plan.moulds[plan.castings[copy].mould].pieces[at].version > 1:
            continue
        region = plan.projects[plan.castings[copy].project].region
        day = f"{instant(recorded).astimezone(_BEIJING):%Y%m%d}"
        number = last[region, day] = last.get((region, day), 0) + 1
        plan.numbers[copy, plan.moulds[plan.castings[copy].mould].pieces[at].stream] = f"{region}-{day}-{number:04d}"


# Pouring ----------------------------------------------------------------------------------------------------------

_held: list[Any] = []


def _inherit(plan: Plan, url: str, sealer: Sealer) -> None:
    _held[:] = [plan, sealer, psycopg.connect(url, options="-c synchronous_commit=off")]


def _part(bounds: tuple[int, int]) -> None:
    plan, sealer, connection = _held
    keys: list[tuple[Any, ...]] = []
    with connection.transaction():
        _copy(connection, "events", _EVENT_TYPES, _events(plan, sealer, *bounds, keys))
        _copy(connection, "data_keys", _KEY_TYPES, keys)


def _beside() -> None:
    """Cases, references, numbers and persons."""
    plan, sealer, connection = _held
    with connection.transaction():
        _copy(connection, "case_ids", _CASE_TYPES, _cases(plan))
        _copy(connection, "external_references", ("text", "text", "uuid"), _references(plan))
        _copy(connection, "case_numbers", ("text", "text", "int4"), _last_numbers(plan))
        phones = [staff_phone(n) for n in range(STAFF)] + [customer_phone(n) for n in range(plan.customers)]
        persons = ((sealer.key_of(one), sealer.person(one), sealer.wrapped(sealer.key_of(one))) for one in phones)
        _copy(connection, "data_keys", _KEY_TYPES, persons)


_EVENT_TYPES = ("int8", "uuid", "int4", "text", "int2", "text", "text", "timestamptz", "bytea", "bytea")
_KEY_TYPES = ("uuid", "bytea", "bytea")
_CASE_TYPES = ("text", "uuid", "text", "text", "timestamptz", "bool")


def _copy(connection: psycopg.Connection[Any], table: str, types: Sequence[str], rows: Any) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _events(plan: Plan, sealer: Sealer, begin: int, end: int, keys: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for index in range(begin, end):
        position, recorded_at = index + 1, instant(plan.recorded[index])
        number, at = plan.copies[index], plan.pieces[index]
        if number < 0:
            stream, name, region, body = plan.described[at]
            version, actor = 1, "admin/group/headquarters"
        else:
            copy, casting = plan.copy(number), plan.castings[number]
            piece = plan.moulds[casting.mould].pieces[at]
            stream, version, name, actor = copy.id(piece.stream), piece.version, piece.name, piece.actor
            region = plan.projects[casting.project].region
            case_no = plan.numbers.get((number, piece.stream), "")
            body = copy.body(piece, stream, case_no, sealer)
            for key in piece.keys:
                keys.append((copy.id(key), None, sealer.wrapped(copy.id(key))))
        hashed = header_hash(position, stream, version, name, 1, actor, region, recorded_at, body)
        yield position, stream, version, name, 1, actor, region, recorded_at, body, hashed


def _cases(plan: Plan) -> Iterator[tuple[Any, ...]]:
    """Whether each stands open follows from the last of its actions that is in the ledger."""
    stands: dict[tuple[int, int], bool] = {}
    opened: dict[tuple[int, int], tuple[str, datetime]] = {}
    for number, at, recorded in zip(plan.copies, plan.pieces, plan.recorded, strict=True):
        if number < 0:
            continue
        casting = plan.castings[number]
        piece = plan.moulds[casting.mould].pieces[at]
        stands[number, piece.stream] = piece.is_open
        if piece.version == 1:
            opened[number, piece.stream] = piece.category, instant(min(recorded, casting.begin + piece.occurred))
    for (number, stream), (category, opened_at) in opened.items():
        project = plan.projects[plan.castings[number].project].code
        case_no = plan.numbers[number, stream]
        yield case_no, plan.copy(number).id(stream), project, category, opened_at, stands[number, stream]


def _references(plan: Plan) -> Iterator[tuple[Any, ...]]:
    seen: dict[int, int] = {}
    for number, stream in plan.numbers:
        copy = plan.copy(number)
        yield (
            plan.projects[plan.castings[number].project].region,
            copy.reference(seen.setdefault(number, -1) + 1),
            copy.id(stream),
        )
        seen[number] += 1


def _last_numbers(plan: Plan) -> Iterator[tuple[str, str, int]]:
    last: dict[str, tuple[str, int]] = {}
    for case_no in plan.numbers.values():
        region, day, number = case_no.rsplit("-", 2)
        last[region] = max(last.get(region, ("", 0)), (day, int(number)))
    return ((region, day, number) for region, (day, number) in last.items())
