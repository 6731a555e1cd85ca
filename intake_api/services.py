"""What the routes work with, joined once by `create_app`."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from grading_engine.grades import UNGRADED
from intake_api import bodies
from intake_api.access import Forbidden, Tokens
from intake_api.deadlines import Deadlines
from intake_api.http import Call, NotFound
from intake_api.keyring import book_of, grams_of, masters_of, vault_of
from intake_api.looked import Looked
from intake_api.polled import PATIENCE, Polled, ProjectionBehind
from intake_api.rates import Rates
from intake_api.ready_cases import ReadyCases
from intake_api.streams import Streams
from intake_api.telemetry import LOST
from projections.folding import Folder
from projections.follower import Follower
from projections.forgetting import complaints_of
from projections.notices import Notices
from projections.snapshot import Snapshots
from projections.views import Views
from projections.watch import Watch
from services.access_log import AccessLog
from services.caller import Caller
from services.case import Case
from services.casebook import Casebook
from services.checkpoints import HeadKey
from services.desk import Desk
from services.directory import Directory
from services.erasures import Erasures, Named
from services.event_log import EventLog, Head
from services.event_log.privileges import EVERYWHERE
from services.event_log.seeing import see, seen
from services.gathering import Gathering, Unseen
from services.identifiers import parse_case_no, parse_uuid
from services.jobs import Jobs
from services.policies import PolicyBook
from services.registrar import Registrar
from services.revocations import Revocations
from services.settings import Oidc, Settings
from services.tree_heads import TreeHeads

if TYPE_CHECKING:
    from intake_api.issuer import Issuer


class Services:
    """One process's parts."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings, self.url = settings, url
        self.log = EventLog(url, settings.queue)
        self.masters = masters_of(settings)
        self.vault = vault_of(settings, self.log, self.masters, LOST.inc)
        self.policies = PolicyBook(self.log)
        self.directory = Directory(self.log)
        self.cases = Casebook(self.log, self.policies, Gathering(self.log, self.directory))
        self.desk = Desk(self.log, self.vault, self.cases, self.directory, bodies.command)
        self.watch = Watch(url)
        self.grams = grams_of(settings)
        self.follower = Follower(url, self.log, self.folder(10_000), self.watch.moved)
        self.views = Views(url, self.watch, self.directory)
        self.ready = ReadyCases(self.vault, self.directory)
        self.streams = Streams(self.views, self.watch)
        self.polled = Polled(self.watch, self.directory, lambda: self.now(), lambda: self.vault.changes)
        self.erasure_book = book_of(settings, self.log, self.vault)
        self.erasures = Erasures(self.log, self.vault, self.cases, self.erasure_book, self.complaints_of)
        self.snapshots = Snapshots(url, self.directory)
        # Files under way in this process.
        self.exports = 0
        self.notices = Notices(
            self.log, self.views, self.watch, self.directory, lambda: self.follower.leads, lambda: self.now()
        )
        self.registrar = Registrar(self.log, self.vault, self.directory)
        self.token_key = settings.key("ANJUAN_TOKEN_KEY")
        self.revocations = Revocations(self.log, lambda: self.now(), self._revoked)
        self.issuer = self._issuer(settings.oidc) if settings.oidc else None
        former = settings.former_keys("ANJUAN_TOKEN_KEY")
        self.tokens = Tokens(self.token_key, self.revocations.hit, self.issuer, former)
        self.rates = Rates(*settings.rate) if settings.rate else None
        self.head_key = HeadKey(settings.key("ANJUAN_HEAD_KEY"))
        self.tree_heads = TreeHeads(self.log, self.head_key, settings.heads, settings.heads_url, lambda: self.now())
        self.jobs = Jobs(self.log, self.now)
        self.deadlines = Deadlines()
        phone_key = settings.key("ANJUAN_PHONE_KEY")
        self.looked = Looked(AccessLog(self.log), phone_key, self.directory, lambda: self.now())
        self.epoch = 1
        # Whether a rebuild that was asked for here is under way.
        self.rebuilding = False

    def _issuer(self, oidc: Oidc) -> "Issuer":
        # Its HTTP client takes a tenth of a second to load, for whoever has no issuer too.
        from intake_api.issuer import Issuer

        return Issuer(oidc, self._withdrawn)

    def folder(self, kept: int) -> Folder:
        """What folds the ledger for the views, remembering so many cases."""
        return Folder(self.log, self.vault, self.policies, self.grams, self.cases.remembered, kept)

    async def complaints_of(self, persons: Collection[UUID]) -> list[Named]:
        """Every complaint that lies under these persons' keys; raises `ProjectionBehind` if that is not known yet."""
        if not persons:
            return []
        if not await self.watch.reached((await self.log.read.head()).position, PATIENCE / 2):
            raise ProjectionBehind
        seen = await self.views.look(lambda view: [complaints_of(view, persons)])
        return [Named(*row) for row in seen.rows[0]]

    def now(self) -> datetime:
        return datetime.now(UTC)

    def grades(self) -> list[str]:
        """The codes that a case's grade can have under any version of the policy."""
        codes = {grade.code for policy in self.policies.policies for grade in policy.grades}
        return [*sorted(codes), UNGRADED]

    def duties(self) -> list[str]:
        """What can be owed under any version of the policy."""
        return sorted({owed.duty for policy in self.policies.policies for owed in policy.duties})

    def caller(self, call: Call) -> Caller:
        """Who asks; raises `Unauthenticated`, or `TooMany`."""
        caller = self.tokens.caller(call.header(b"authorization"))
        call.scope["caller"] = caller
        see(None if caller.everywhere else caller.regions)
        if self.rates:
            self.rates.take(caller.subject)
        return caller

    async def learn(self) -> None:
        """Of the issuer's newest keys; raises `Unavailable`."""
        if self.issuer:
            await self.issuer.learn()

    def _revoked(self) -> None:
        self.tokens.forget_revoked()
        # Who listens looks again whether the token counts.
        self.watch.wake()

    def _withdrawn(self, keys: frozenset[str]) -> None:
        self.tokens.forget_keys(keys)
        self.watch.wake()

    async def visible_case(self, call: Call, caller: Caller, fresh: bool) -> tuple[Case, Head | None]:
        """The case in the path, by id or number; one of another region is as unknown as any other (`NotFound`)."""
        if not caller.reads_cases():
            raise Forbidden
        written = call.path_params["case_id"]
        case_id = parse_uuid(written)
        if case_id is None and (number := parse_case_no(written)):
            case_id = await self.log.read.case_by_number(number)
        if case_id is None:
            raise NotFound
        try:
            docket, head = (
                await self.cases.fresh(case_id, seen()) if fresh else (await self.cases.last_known(case_id), None)
            )
        except Unseen:
            await self._note_a_foreign_case(call, case_id)
            raise NotFound from None
        case = docket[case_id]
        call.cases = (str(case_id),)
        call.regions = (case.region,) if case.version else ()
        if not case.version or not caller.sees(case.region):
            raise NotFound
        return case, head

    async def _note_a_foreign_case(self, call: Call, case_id: UUID) -> None:
        """For those who see who looked where: the answer doesn't depend on it."""
        docket, _ = await self.cases.fresh(case_id, EVERYWHERE)
        case = docket[case_id]
        call.cases, call.regions = (str(case_id),), (case.region,) if case.version else ()

    def report(self, fault: Exception) -> None:
        """Log what nobody foresaw: where it happened and its type, never its text (it may quote the request)."""
        frames = []
        trace = fault.__traceback__
        while trace:
            frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
            trace = trace.tb_next
        structlog.get_logger().error("unforeseen", fault=type(fault).__name__, frames=frames[-8:])
