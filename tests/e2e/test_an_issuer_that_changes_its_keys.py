"""Keys that change every second while many ask, and tokens that are revoked: who should is refused, and nobody else."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.e2e.serving import Service, Wire, in_thread, serving
from tests.issuing import IssuerServer, Pair, ed25519

pytestmark = pytest.mark.anyio

SECONDS = 10.0
CLIENTS = 16


class Rotating:
    """A key a second: published when it begins to sign, and for a while after it has ceased."""

    def __init__(self, issuer: IssuerServer) -> None:
        self._issuer = issuer
        self.pairs = [ed25519()]
        self.turned = 0
        issuer.publish(*self.pairs)

    @property
    def newest(self) -> Pair:
        return self.pairs[-1]

    async def turn(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(1)
            # The new one signs at once: whoever verifies learns of it by its first token.
            pair = ed25519()
            self._issuer.publish(*self.pairs[-3:], pair)
            self.pairs.append(pair)
            self.turned += 1


async def test_keys_change_every_second_and_nobody_is_refused(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    print("seed", seed)
    with IssuerServer().serving() as issuer, fresh_database(cluster) as url:
        rotating = Rotating(issuer)
        with serving(tmp_path / "data", url, 2, **issuer.settings) as service:
            until = time.monotonic() + SECONDS
            asked: list[int] = []
            longest = 0.0

            async def ask(number: int) -> None:
                nonlocal longest
                while time.monotonic() < until:
                    token = rotating.newest.sign(issuer.claims(sub=f"caller-{number}"))
                    async with Wire(service.port, token) as wire:
                        for _ in range(chance.randrange(1, 20)):
                            answer = await wire.ask("GET", "/v1/regions")
                            asked.append(answer.status)
                            longest = max(longest, answer.seconds)
                            await asyncio.sleep(0.01)

            async with asyncio.timeout(60):
                await asyncio.gather(rotating.turn(until), *map(ask, range(CLIENTS)))
            print(len(asked), "requests,", rotating.turned, "keys,", issuer.asked, "looks, longest", round(longest, 2))
            assert set(asked) == {200}
            assert rotating.turned >= SECONDS - 3
            # A look each two seconds at most, in each of the two processes, and the one they began with.
            assert issuer.asked <= 2 * (SECONDS / 2 + 3)
            assert longest < 4.5


async def test_a_token_is_revoked_by_command_in_all_processes_and_its_stream_ends(
    cluster: EmbeddedPostgres, tmp_path: Path
) -> None:
    with fresh_database(cluster) as url, serving(tmp_path / "data", url, 2) as service:
        token, other = (service.token("agent", "GD", subject=name) for name in ("甲", "乙"))
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await _statuses(service, token) == {200}
        said = await in_thread(service.run, "token", "revoke", token)
        assert (said.returncode, said.stdout) == (0, "That token of 甲 counts no longer.\n"), said.stderr
        await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 1)
        await asyncio.sleep(0.5)
        assert await _statuses(service, token) == {401}
        assert await _statuses(service, other) == {200}
        said = await in_thread(service.run, "token", "revoke", "--subject", "乙")
        assert said.returncode == 0, said.stderr
        again = await in_thread(
            service.run, *("token", "issue", "--role", "agent", "--region", "GD", "--subject", "乙")
        )
        await asyncio.sleep(1)
        assert await _statuses(service, other) == {401}
        assert await _statuses(service, again.stdout.splitlines()[-1]) == {200}
        for wrong in ((), (token, "--subject", "乙"), ("nonsense",)):
            said = await in_thread(service.run, "token", "revoke", *wrong)
            assert (said.returncode, said.stdout) == (2, "")
        writer.close()


async def _statuses(service: Service, token: str) -> set[int]:
    """Over connections enough to come to every process."""

    async def ask() -> int:
        async with Wire(service.port, token) as wire:
            return (await wire.ask("GET", "/v1/regions")).status

    return set(await asyncio.gather(*(ask() for _ in range(24))))
