"""制度. The published versions of the regulation, each an event in one stream; only a sound one is ever stored."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from grading_engine.policy import Policy, shipped
from grading_engine.soundness import DocumentFault, examined
from services import events
from services.caller import Caller
from services.event_log import EventLog, Fact, IdempotencyKey, Overloaded, Placed, Proposal, Record, VersionConflict
from services.events import PolicyPublished, decode
from services.instants import format_instant
from services.rules import Fault, Malformed

_STREAM = uuid5(UUID("3f6f0f86-7b5c-5c61-9d0e-9f0d3a5f5c1e"), "policies")
_TRIES = 40


class Published(msgspec.Struct, frozen=True):
    """A version and when it was published; None: it came with the service."""

    policy: Policy
    document: Mapping[str, Any]
    published_at: datetime | None


class PolicyBook:
    """All versions, the shipped one first, as far as this process has read the stream."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._version = 0
        self.position = 0
        self._told: list[Callable[[], None]] = []
        first = shipped()
        self.published: tuple[Published, ...] = (Published(first, first.model_dump(mode="json"), None),)
        self.policies: tuple[Policy, ...] = (first,)

    def when_published(self, tell: Callable[[], None]) -> None:
        """Call it whenever another version is known."""
        self._told.append(tell)

    async def refresh(self) -> None:
        """Catch up with the ledger."""
        _, records = await self._log.read.history(_STREAM, self._version)
        for record in records:
            self._take(record)

    def version(self, name: str) -> Published | None:
        """A version by its name."""
        return next((one for one in self.published if one.policy.version == name), None)

    async def publish(
        self,
        document: Any,
        caller: Caller,
        at: datetime,
        key: IdempotencyKey | None,
        answer: Callable[[Published], bytes],
    ) -> tuple[Published, bool]:
        """Store a version, and whether it is new: the same document again stores nothing. Raises `Malformed`."""
        policy, faults = examined(document)
        if policy is None:
            raise Malformed([_fault(one) for one in faults], "unsound_policy")
        for _ in range(_TRIES):
            await self.refresh()
            known = self.version(policy.version)
            if known and known.policy == policy:
                return known, False
            self._fits(policy, at)
            body = events.encode(PolicyPublished(document=document))

            def answered(placed: Placed, policy: Policy = policy) -> bytes:
                return answer(Published(policy, document, placed.record.recorded_at))

            fact = Fact(_STREAM, PolicyPublished.name, PolicyPublished.schema, "", body, key=key, answer=answered)
            try:
                await self._log.append(Proposal(caller.actor, {_STREAM: self._version}, (fact,)))
            except VersionConflict:
                continue
            await self.refresh()
            return self.published[-1], True
        raise Overloaded

    def _fits(self, policy: Policy, at: datetime) -> None:
        """History is never rewritten: a version begins after it was published, under a name and instant of its own."""
        if self.version(policy.version):
            raise Malformed([Fault("/version", "policy_version_taken", policy.version)], "policy_version_taken")
        if policy.effective_from < at:
            raise Malformed(
                [Fault("/effective_from", "effective_too_early", format_instant(at))], "effective_too_early"
            )
        if any(known.effective_from == policy.effective_from for known in self.policies):
            raise Malformed([Fault("/effective_from", "effective_taken")], "effective_taken")

    def _take(self, record: Record) -> None:
        if record.version <= self._version:
            return
        fact = decode(record.name, record.schema, record.body)
        self._version, self.position = record.version, record.position
        if isinstance(fact, PolicyPublished):
            policy = Policy.model_validate(fact.document)
            self.published = (*self.published, Published(policy, fact.document, record.recorded_at))
            self.policies = (*self.policies, policy)
            for tell in self._told:
                tell()


def _fault(one: DocumentFault) -> Fault:
    return Fault(one.pointer, one.code, one.given)
