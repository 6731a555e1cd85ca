"""The issuer that was configured (OpenID Connect): whose tokens count, by keys that it publishes and changes."""

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic

import httpx
import structlog

from intake_api.claims import Meant, Names, caller_of
from intake_api.issuer_keys import NotTold, PublicKey, told
from intake_api.signed import Said, Unauthenticated, read, verify
from services.caller import Caller
from services.event_log import Unavailable
from services.settings import Oidc

# Seconds between two looks whatever happens: within that time a key that was withdrawn counts no longer.
OFTEN = 300.0
# Likewise after one that failed.
AGAIN = 15.0
# Seconds between two looks whoever asks: a token with a key that is not known waits for the next, but no longer than
# it may. Anybody can make such tokens up, so that no more than this is asked of the issuer for them.
PAUSE = 2.0
_PATIENCE = 2.0
# Callers who may wait for a look; who comes on top is told at once to come again.
_WAITING = 500


class KeyUnknown(Unauthenticated):
    """The key that the token names may be newer than what is known here: learn, and look at the token again."""


class Issuer:
    """Its keys, as far as they are known, and what they verify. `gone` is called when known keys count no longer."""

    def __init__(self, oidc: Oidc, gone: Callable[[frozenset[str]], None]) -> None:
        self._oidc, self._gone = oidc, gone
        self._meant = Meant(oidc.issuer, oidc.audience)
        self._names = Names(oidc.role_claim, oidc.regions_claim, oidc.unit_claim, listed=True)
        self._keys: tuple[PublicKey, ...] = ()
        self._client: httpx.AsyncClient | None = None
        self._next: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._looked = float("-inf")
        self._waiting = 0

    @property
    def name(self) -> str:
        return self._oidc.issuer

    def proven(self, token: str) -> tuple[Caller, Said, str]:
        """Who the token is for, what it says, and by which key; raises `Unauthenticated`, or `KeyUnknown`."""
        said = read(token, self._oidc.algorithms)
        # Before the key is looked for: only what would count by its claims is worth a look at the issuer.
        self._meant.holds(said.claims)
        caller = caller_of(said.claims, self._names)
        key = self._key(said)
        try:
            verify(said, key.key)
        except Unauthenticated:
            # Keys without a name can be changed without being called another.
            raise (Unauthenticated if said.key_id is not None else KeyUnknown) from None
        return caller, said, key.identity

    def _key(self, said: Said) -> PublicKey:
        """The one key that it can be; raises `KeyUnknown`."""
        named = [key for key in self._keys if said.key_id is None or key.key_id == said.key_id]
        if not named:
            raise KeyUnknown
        fit = [key for key in named if key.fits(said.algorithm)]
        if len({key.identity for key in fit}) != 1:
            raise Unauthenticated
        return fit[0]

    async def learn(self) -> None:
        """Return when a look at the issuer's keys that began after now is over; raises `Unavailable` if it failed.

        All who wait share one look, and nobody else waits.
        """
        if self._waiting >= _WAITING:
            raise Unavailable("too many wait for the issuer")
        if self._next is None:
            self._next = asyncio.create_task(self._look())
            self._looks.add(self._next)
            self._next.add_done_callback(self._over)
        self._waiting += 1
        try:
            await asyncio.shield(self._next)
        except NotTold as failure:
            raise Unavailable("the issuer does not answer") from failure
        finally:
            self._waiting -= 1

    async def run(self) -> None:
        """Look now and then, for ever."""
        try:
            while True:
                pause = OFTEN
                try:
                    await self.learn()
                except Unavailable:
                    pause = AGAIN
                await asyncio.sleep(pause)
        finally:
            for look in self._looks:
                look.cancel()
            await asyncio.gather(*self._looks, return_exceptions=True)
            if self._client:
                await self._client.aclose()

    async def _look(self) -> None:
        """When it is time. An issuer that does not answer, or not sensibly, keeps the keys that it had."""
        await asyncio.sleep(self._looked + PAUSE - monotonic())
        # Who asks from now on may know of a newer key than this look will find.
        self._next, self._looked = None, monotonic()
        if self._client is None:
            # Once: what it needs for TLS takes 20 ms.
            self._client = await asyncio.to_thread(httpx.AsyncClient, timeout=_PATIENCE)
        try:
            async with asyncio.timeout(_PATIENCE):
                keys = await told(self._client, self._oidc.issuer)
        except (NotTold, TimeoutError) as failure:
            structlog.get_logger().warning("issuer", fault=str(failure) or type(failure).__name__)
            raise NotTold(str(failure)) from None
        before = frozenset(key.identity for key in self._keys)
        self._keys = keys
        if lost := before - {key.identity for key in keys}:
            self._gone(lost)

    def _over(self, look: "asyncio.Task[None]") -> None:
        self._looks.discard(look)
        with contextlib.suppress(asyncio.CancelledError):
            # That it failed is told to whoever waits; nobody may.
            look.exception()
