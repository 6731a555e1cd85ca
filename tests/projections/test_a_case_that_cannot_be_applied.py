"""An action that cannot be applied sets its own case aside, and nothing else waits for it."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from intake_api import operating
from intake_api.services import Services
from projections import decoding
from projections.parked import NoSuchParkedCase
from projections.standing import standing
from services.casebook import entry_of
from services.docket import Entry
from services.event_log import Record
from tests.projections.ledgers import asked, differences, following, reached, rebuilt, shown, some_histories, store

pytestmark = pytest.mark.anyio
_BROKEN = b'{"action_id": 5}'


class Poisoned:
    """A ledger in whose middle one action of one case cannot be read. `poisoned` is that case."""

    def __init__(self, services: Services, records: list[Record]) -> None:
        self.services = services
        lone = [
            one for one in records if not any(name in _links(records, one.stream) for name in ("linked", "unlinked"))
        ]
        last = {one.stream: one for one in lone}
        self.poisoned, before = max(last.items(), key=lambda item: (item[1].version, item[0]))
        self.sound = records
        name, now = "noted", datetime.now(UTC)
        head = len(records)
        self.poison = replace(
            before, position=head + 1, version=before.version + 1, name=name, body=_BROKEN, recorded_at=now
        )
        # What comes behind it: another action of that case, and one of every other case.
        self.later = [
            self._note(one, position, now)
            for position, one in enumerate([self.poison, *_others(records, self.poisoned)], start=head + 2)
        ]

    def _note(self, after: Record, position: int, at: datetime) -> Record:
        said = {"action_id": str(UUID(int=position << 64)), "occurred_at": at.isoformat(), "text": ""}
        body = json.dumps({key: value for key, value in said.items() if key != "text"} | {"text": _SEALED}).encode()
        return replace(
            after,
            position=position,
            version=after.version + 1,
            name="noted",
            schema=1,
            body=body,
            recorded_at=at,
        )

    async def store(self) -> int:
        """All of it; the ledger's end."""
        await store(self.services.url, [*self.sound, self.poison, *self.later])
        return self.later[-1].position


_SEALED = "1" + "A" * 80


def _links(records: list[Record], stream: UUID) -> set[str]:
    return {one.name for one in records if one.stream == stream}


def _others(records: list[Record], but: UUID) -> list[Record]:
    return [one for stream, one in {one.stream: one for one in records}.items() if stream != but]


@pytest.fixture
async def ledger(services: Services, seed: int, monkeypatch: pytest.MonkeyPatch) -> Poisoned:
    return Poisoned(services, await some_histories(services, seed, 8, monkeypatch))


def _mend(monkeypatch: pytest.MonkeyPatch, sound: Record) -> None:
    """The update that can read it: as a repetition of the note that follows."""

    def mended(record: Record) -> Entry:
        return entry_of(
            replace(sound, position=record.position, version=record.version) if record.body == _BROKEN else record
        )

    monkeypatch.setattr(decoding, "entry_of", mended)


async def _versions(url: str) -> dict[UUID, int]:
    ((live,),) = await asked(url, "SELECT live FROM projections")
    return dict(await asked(url, f"SELECT case_id, version FROM view_{live}.cases"))


async def _parked(url: str) -> list[tuple[UUID, str]]:
    return await asked(
        url, "SELECT case_id, state FROM parked_cases JOIN projections ON live = generation ORDER BY case_id"
    )


async def test_only_that_case_is_parked_and_retried_once_it_can_be_read(
    ledger: Poisoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, url = ledger.services, ledger.services.url
    async with following(services):
        await reached(url, await ledger.store())
        assert await _parked(url) == [(ledger.poisoned, "parked")]
        versions = await _versions(url)
        # It shows what it showed before; every other case has its last action.
        assert versions[ledger.poisoned] == ledger.poison.version - 1
        assert all(versions[one.stream] == one.version for one in ledger.later[1:])
        assert await differences(services) == []
        assert (await standing(services.log.read)).parked == 1

        outcome = await operating.retry_parked(services.settings, url, [str(ledger.poisoned)])
        assert list(outcome) == [ledger.poisoned] and outcome[ledger.poisoned].startswith("parked again")

        _mend(monkeypatch, ledger.later[0])
        assert await operating.retry_parked(services.settings, url, None) == {ledger.poisoned: "applied"}
    assert await _parked(url) == []
    assert (await _versions(url))[ledger.poisoned] == ledger.later[0].version
    assert await differences(services) == []


async def test_a_retry_needs_nobody_else_who_leads(ledger: Poisoned, monkeypatch: pytest.MonkeyPatch) -> None:
    services, url = ledger.services, ledger.services.url
    end = await ledger.store()
    async with following(services):
        await reached(url, end)
    _mend(monkeypatch, ledger.later[0])
    assert await operating.retry_parked(services.settings, url, None) == {ledger.poisoned: "applied"}
    assert await _parked(url) == []


async def test_a_rebuild_sets_it_aside_too_and_shows_it_as_it_was_before(ledger: Poisoned) -> None:
    services, url = ledger.services, ledger.services.url
    async with following(services):
        await reached(url, await ledger.store())
    followed = await shown(url)
    await rebuilt(services, page=7)
    assert await _parked(url) == [(ledger.poisoned, "parked")]
    assert await shown(url) == followed
    assert await differences(services) == []


async def test_what_is_given_up_stays_given_up_when_it_is_rebuilt(ledger: Poisoned) -> None:
    services, url = ledger.services, ledger.services.url
    async with following(services):
        await reached(url, await ledger.store())
    with pytest.raises(NoSuchParkedCase):
        await operating.drop_parked(services.settings, url, [str(ledger.later[1].stream)])
    assert await operating.drop_parked(services.settings, url, [str(ledger.poisoned)]) == [ledger.poisoned]
    assert (await standing(services.log.read)).parked == 0
    await rebuilt(services)
    assert await _parked(url) == [(ledger.poisoned, "dropped")]
    assert (await standing(services.log.read)).parked == 0


@pytest.mark.parametrize(
    "unknown",
    [lambda one: replace(one, name="teleported"), lambda one: replace(one, schema=99)],
    ids=["name", "schema"],
)
async def test_what_only_a_newer_release_knows_parks_nothing_and_hands_the_lead_on(
    ledger: Poisoned, unknown: Callable[[Record], Record]
) -> None:
    services, url = ledger.services, ledger.services.url
    await store(url, [*ledger.sound, unknown(ledger.poison)])
    async with following(services, most=5) as follower:
        await reached(url, len(ledger.sound) // 5 * 5)
        async with asyncio.timeout(5):
            while follower.outdated is None:  # noqa: ASYNC110 - it is told in a loop of its own
                await asyncio.sleep(0.02)
        assert not follower.leads
        assert await _parked(url) == []
    assert not await asked(url, "SELECT FROM parked_cases")
