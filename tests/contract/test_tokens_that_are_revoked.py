"""A token that was revoked counts no longer, in any process within a second, and what it keeps open ends."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from intake_api.access import Tokens
from intake_api.command_line.revoking import NoToken, revoke_subject, revoke_token
from services.settings import Settings
from tests.contract.hearing import listening
from tests.contract.house import Caller, House, codes, open_house
from tests.issuing import IssuerServer, ed25519

pytestmark = pytest.mark.anyio

WITHIN = 1.0
NONE = Settings({})


async def revoked(house: House, work: Any, *said: str) -> None:
    """As the command does, from elsewhere."""
    await asyncio.to_thread(work, NONE, house.services.url, *said)


async def refused(caller: Caller) -> float:
    """Seconds until it counts no longer."""
    began = time.monotonic()
    while (await caller.get("/v1/regions")).status_code == 200:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.02)
    assert codes([await caller.get("/v1/regions")]) == ["unauthenticated"]
    return time.monotonic() - began


async def test_one_token_is_revoked_and_others_of_its_subject_are_not(house: House) -> None:
    one, other = (house.caller("agent", "GD", subject="甲") for _ in range(2))
    assert codes([await caller.get("/v1/regions") for caller in (one, other)]) == [200, 200]
    await revoked(house, revoke_token, one.token)
    assert await refused(one) < WITHIN
    assert (await other.get("/v1/regions")).status_code == 200


async def test_all_that_a_subject_has_is_revoked_but_not_what_it_gets_later(house: House) -> None:
    had = [house.caller(role, "GD", subject="乙") for role in ("agent", "manager", "dashboard")]
    stranger = house.caller("agent", "GD", subject="乙2")
    await had[0].get("/v1/regions")
    await revoked(house, revoke_subject, "乙")
    gets = house.caller("agent", "GD", subject="乙")
    for caller in had:
        assert await refused(caller) < WITHIN
    assert codes([await caller.get("/v1/regions") for caller in (gets, stranger)]) == [200, 200]
    await revoked(house, revoke_subject, "乙")
    assert await refused(gets) < WITHIN


async def test_what_a_revoked_token_listens_to_ends(house: House) -> None:
    caller, stays = (house.agent("GD", subject=name) for name in ("丙", "丁"))
    async with listening(house, caller) as heard, listening(house, stays) as other:
        await revoked(house, revoke_token, caller.token)
        began = time.monotonic()
        await heard.ended()
        assert time.monotonic() - began < WITHIN
        assert not other.task.done()


async def test_a_revoked_token_written_otherwise_is_revoked(house: House) -> None:
    caller = house.agent("GD")
    await revoked(house, revoke_token, f"  Bearer {caller.token}\n")
    await refused(caller)
    for said in (f"bearer {caller.token}", f"Bearer  {caller.token}", f"BEARER {caller.token} "):
        assert (await house.client.get("/v1/regions", headers={"authorization": said})).status_code == 401


async def test_a_process_that_starts_later_knows_it_too(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, tmp_path) as house:
        one, other = (house.caller("manager", subject=name) for name in ("甲", "乙"))
        await revoked(house, revoke_token, one.token)
        await revoked(house, revoke_subject, "乙")
    async with open_house(database_url, tmp_path) as again:
        answers = [await Caller(again.client, caller.token, "manager").get("/v1/regions") for caller in (one, other)]
        assert codes(answers) == ["unauthenticated"] * 2


async def test_an_issuer_s_token_is_revoked_with_and_without_a_name_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    with IssuerServer().serving() as issuer:
        issuer.publish(pair := ed25519())
        async with open_house(database_url, tmp_path, **issuer.settings) as house:
            for left_out in ({}, {"jti": ...}, {"jti": ..., "iat": ...}):
                one, other = (pair.sign(issuer.claims(email=name, **left_out)) for name in ("甲", "乙"))
                callers = [Caller(house.client, token, "agent") for token in (one, other)]
                assert codes([await caller.get("/v1/regions") for caller in callers]) == [200, 200]
                await revoked(house, revoke_token, one)
                assert await refused(callers[0]) < WITHIN
                assert (await callers[1].get("/v1/regions")).status_code == 200
            # Its clock may be ahead of ours: what it has issued by half a minute from now may be from before.
            ahead = Caller(house.client, pair.sign(issuer.claims(sub="丙", iat=int(time.time()) + 20)), "agent")
            assert (await ahead.get("/v1/regions")).status_code == 200
            await revoked(house, revoke_subject, "丙")
            assert await refused(ahead) < WITHIN


@pytest.mark.parametrize("said", ["", "a", "a.b.c", "e30.e30.", "Bearer", "\0.\0.\0"])
def test_what_is_no_token_cannot_be_revoked(said: str) -> None:
    with pytest.raises(NoToken):
        revoke_token(NONE, "postgresql://nowhere", said)


def test_every_token_has_a_name_of_its_own() -> None:
    from intake_api.access import claims_in

    tokens = Tokens(b"1" * 32)
    names = {(claims_in(tokens.issue("agent", ["GD"], "region", "a", 1)) or {})["jti"] for _ in range(3)}
    assert len(names) == 3
