"""Writing the directory: how a region or a project is from an instant on, each in a stream of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from services import events
from services.caller import Caller
from services.commands import DescribeProject, DescribeRegion, PersonBody
from services.directory import Directory, Entry, in_force, project_stream, region_stream
from services.event_log import (
    EventLog,
    Fact,
    KeysChanged,
    Overloaded,
    Proposal,
    VersionConflict,
)
from services.events import ProjectDescribed, RegionDescribed
from services.rules import Fault, Malformed
from services.vault import Vault

_TRIES = 40


class Registrar:
    """Keeps the directory's streams."""

    def __init__(
        self,
        log: EventLog,
        vault: Vault,
        directory: Directory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log, self._vault, self._directory, self._clock = log, vault, directory, clock

    async def describe_region(self, code: str, command: DescribeRegion, caller: Caller) -> Entry[RegionDescribed]:
        """Store how a region is from an instant on; the same again stores nothing."""
        now = self._clock()
        fact = RegionDescribed(
            code=code,
            title=command.name,
            valid_from=command.valid_from or now,
            president=_person(command.president),
            customer_relations_executive=_person(command.customer_relations_executive),
            customer_relations_lead=_person(command.customer_relations_lead),
        )
        await self._describe(fact, region_stream(code), code, command.valid_from is None, caller)
        return in_force(self._directory.regions[code], fact.valid_from)

    async def describe_project(self, code: str, command: DescribeProject, caller: Caller) -> Entry[ProjectDescribed]:
        """Store how a project is from an instant on; its region must exist."""
        if not await self._directory.known_region(command.region):
            raise Malformed([Fault("/region", "unknown_region", command.region)], "unknown_region")
        if (known := await self._directory.known_project(code)) and known[-1].fact.region != command.region:
            raise Malformed([Fault("/region", "region_is_fixed", command.region)], "region_is_fixed")
        managers = command.managers
        fact = ProjectDescribed(
            code=code,
            title=command.name,
            region=command.region,
            valid_from=command.valid_from or self._clock(),
            city=command.city,
            area=command.area,
            handover_started_at=command.handover_started_at,
            handover_finished_at=command.handover_finished_at,
            managers=events.Managers(_person(managers.project), _person(managers.city), _person(managers.area))
            if managers
            else None,
        )
        await self._describe(fact, project_stream(code), command.region, command.valid_from is None, caller)
        return in_force(self._directory.projects[code], fact.valid_from)

    async def _describe(
        self, fact: RegionDescribed | ProjectDescribed, stream: UUID, region: str, from_now: bool, caller: Caller
    ) -> None:
        for _ in range(_TRIES):
            await self._directory.refresh()
            version, held = self._held(fact)
            if held and await self._says_the_same(held, fact, from_now):
                return
            sealed, seals = await self._vault.seal(fact, stream, version + 1)
            stored = Fact(stream, fact.name, fact.schema, region, events.encode(sealed))
            proposal = Proposal(
                actor=caller.actor,
                reads={stream: version},
                facts=(stored,),
                new_keys=seals.new,
                used_keys=seals.used,
            )
            try:
                await self._log.append(proposal)
            except VersionConflict:
                continue
            except KeysChanged as changed:
                self._vault.learn(changed.existing, changed.missing, changed.erased)
                continue
            self._vault.confirm(seals)
            await self._directory.refresh()
            return
        raise Overloaded

    def _held(
        self, fact: RegionDescribed | ProjectDescribed
    ) -> tuple[int, Entry[RegionDescribed] | Entry[ProjectDescribed] | None]:
        """How many descriptions the code has, and the one in force when the new one begins."""
        if isinstance(fact, RegionDescribed):
            regions = self._directory.regions.get(fact.code, ())
            return len(regions), in_force(regions, fact.valid_from) if regions else None
        projects = self._directory.projects.get(fact.code, ())
        return len(projects), in_force(projects, fact.valid_from) if projects else None

    async def _says_the_same(
        self,
        held: Entry[RegionDescribed] | Entry[ProjectDescribed],
        fact: RegionDescribed | ProjectDescribed,
        from_now: bool,
    ) -> bool:
        opened = await self._vault.plain(held.fact, held.stream, held.version)
        return opened == (replace(fact, valid_from=opened.valid_from) if from_now else fact)


def _person(body: PersonBody | None) -> events.Person | None:
    return events.Person(body.name, body.phone) if body else None
