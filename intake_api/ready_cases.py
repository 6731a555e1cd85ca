"""Cases as they were answered last: a case that nothing moved is not shown anew for each who asks."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from intake_api.http import entity_tag
from projections import case_view, duty_view
from services.case import Case
from services.directory import Directory
from services.vault import Vault

_KEPT_BYTES = 64 << 20
_TICK = timedelta(microseconds=1)


class Ready(NamedTuple):
    """A body with its tag, what it was made of, and the last instant at which it still holds by itself."""

    body: bytes
    tag: str
    case: Case
    made_of: tuple[int, int]
    until: datetime


class ReadyCases:
    """This process's, the ones asked for last."""

    def __init__(self, vault: Vault, directory: Directory) -> None:
        self._vault, self._directory = vault, directory
        self._kept: OrderedDict[tuple[UUID, bool], Ready] = OrderedDict()
        self._bytes = 0

    async def shown(self, case: Case, masked: bool, now: datetime) -> Ready:
        """The case as it stands now, as far as the reader may see it."""
        name = (case.case_id, masked)
        made_of = (self._directory.position, self._vault.changes)
        ready = self._kept.get(name)
        if ready and ready.case is case and ready.made_of == made_of and now <= ready.until:
            self._kept.move_to_end(name)
            return ready
        document = case_view.encode(case_view.whole(case, self._directory, now))
        body = await self._vault.open_document(document, masked)
        tag = f"{case.version}.{entity_tag(body)}"
        old = self._kept.pop(name, None)
        ready = self._kept[name] = Ready(body, tag, case, made_of, self._until(case, now))
        self._bytes += len(body)
        if old:
            self._bytes -= len(old.body)
        while self._bytes > _KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1].body)
        return ready

    def _until(self, case: Case, now: datetime) -> datetime:
        instants = [one.clock.due_at for one in duty_view.dues(case) if not one.clock.proof]
        coming = [due_at for due_at in instants if due_at and due_at >= now]
        # By a clock that runs ahead something may be said to come.
        said = [held.action.reported_at for held in case.emergencies] + [gone.obtained_at for gone in case.voided]
        ahead = [instant - _TICK for instant in said if instant > now]
        return min([*coming, *ahead, self._directory.holds_until(now)])
