"""The vault: sealed before anything is written, and worth nothing anywhere else."""

import base64
import json
import os
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from services.event_log import WrappedKey
from services.events import (
    Complainant,
    ContactPerson,
    Evidence,
    Fact,
    Noted,
    Opening,
    Received,
    Responded,
    decode,
    encode,
)
from services.master_keys import UnknownMaster
from services.phone_keys import PhoneKeys
from services.vault import Seals, Vault, key_of, marked, marked_fact
from tests.steps import ACTION_ID, NOON, complaint_id

pytestmark = pytest.mark.anyio

STREAM = UUID("019ab3c4-5d6e-7f80-9123-0000000000aa")
OTHER = UUID("019ab3c4-5d6e-7f80-9123-0000000000bb")
PERSONAL = {
    "name": "李小明",
    "phone": "138-1234-5678",
    "relation": "业主的女儿",
    "title": "三栋外墙渗水",
    "description": "从去年开始漏",
    "unrest": "约定周末到售楼处",
    "note": "情绪激动",
    "ref": "录音-李小明-0001.wav",
}
RECEIVED = Received(
    action_id=ACTION_ID,
    complaint_id=complaint_id(1),
    occurred_at=NOON,
    channel="hotline",
    household="3-1-201",
    complainant=Complainant(PERSONAL["name"], PERSONAL["phone"], PERSONAL["relation"]),
    opening=Opening(
        project="GD-FS-001",
        category="engineering",
        title=PERSONAL["title"],
        description=PERSONAL["description"],
        unrest=PERSONAL["unrest"],
    ),
    note=PERSONAL["note"],
    evidence=(Evidence("photo", "a.jpg"), Evidence("recording", PERSONAL["ref"])),
)


class Kept:
    """The table of keys, as the ledger would hold it."""

    def __init__(self) -> None:
        self.rows: dict[UUID, WrappedKey] = {}

    def store(self, seals: Seals) -> None:
        self.rows.update({key.key_id: key for key in seals.new})

    async def fetch(self, key_ids: Sequence[UUID]) -> list[WrappedKey]:
        return [self.rows[key_id] for key_id in key_ids if key_id in self.rows]


MASTER, PHONES = os.urandom(32), os.urandom(32)


def vault(kept: Kept, master: bytes = MASTER) -> Vault:
    """A process that knows nothing but the keys' keys."""
    return Vault(master, PHONES, kept.fetch)


async def sealed(kept: Kept, fact: Any = RECEIVED, stream: UUID = STREAM, version: int = 1) -> Any:
    found, seals = await vault(kept).seal(fact, stream, version)
    kept.store(seals)
    return found


async def shown(kept: Kept, token: str, kind: str = "text", where: tuple[UUID, int, str] = (STREAM, 1, "note")) -> Any:
    """What a reader sees of a token that claims to stand there."""
    document = msgspec.json.encode({"field": marked(kind, *where, token)})
    return json.loads(await vault(kept).open_document(document))["field"]


def _every_text(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _every_text(item)]
    if isinstance(value, list):
        return [text for item in value for text in _every_text(item)]
    return [value] if isinstance(value, str) else []


async def test_no_personal_text_is_left_in_the_body() -> None:
    stored = encode(await sealed(Kept()))
    found = [text for text in PERSONAL.values() if text.encode() in stored or json.dumps(text).encode() in stored]
    assert found == []
    assert b"3-1-201" in stored, "the household stays in clear, so the search can find"


async def test_no_token_contains_what_it_seals() -> None:
    body = json.loads(encode(await sealed(Kept())))
    tokens = [text for text in _every_text(body) if text.startswith("1") and len(text) > 60]
    raw = b"".join(base64.b64decode(token[1:]) for token in tokens)
    assert len(tokens) == len(PERSONAL) + 1
    assert [text for text in PERSONAL.values() if text.encode() in raw] == []


async def test_the_same_text_twice_is_two_tokens() -> None:
    kept = Kept()
    one, other = (await sealed(kept)), (await sealed(kept))
    assert one.note != other.note


async def test_whoever_has_the_keys_reads_what_was_said() -> None:
    kept = Kept()
    stored = await sealed(kept)
    again = decode("received", 1, encode(stored))
    assert await vault(kept).plain(again, STREAM, 1) == RECEIVED


async def test_a_document_is_opened_in_place() -> None:
    kept = Kept()
    document = msgspec.json.encode(marked_fact(await sealed(kept), STREAM, 1))
    opened = json.loads(await vault(kept).open_document(document))
    assert opened == json.loads(msgspec.json.encode(RECEIVED))


MOVED = {
    "another stream": (OTHER, 1, "note"),
    "another version": (STREAM, 2, "note"),
    "another field": (STREAM, 1, "opening.title"),
    "another item": (STREAM, 1, "evidence.0.ref"),
}


@pytest.mark.parametrize("place", MOVED)
async def test_a_token_moved_elsewhere_opens_to_nothing(place: str) -> None:
    kept = Kept()
    token = (await sealed(kept)).note
    assert await shown(kept, token) == PERSONAL["note"]
    assert await shown(kept, token, where=MOVED[place]) is None


async def test_an_item_of_a_list_is_bound_to_its_place() -> None:
    kept = Kept()
    token = (await sealed(kept)).evidence[1].ref
    assert await shown(kept, token, where=(STREAM, 1, "evidence.1.ref")) == PERSONAL["ref"]
    assert await shown(kept, token, where=(STREAM, 1, "evidence.0.ref")) is None


async def test_an_altered_token_opens_to_nothing() -> None:
    kept = Kept()
    token = (await sealed(kept)).note
    raw = bytearray(base64.b64decode(token[1:]))
    raw[-1] ^= 1
    assert await shown(kept, "1" + base64.b64encode(raw).decode()) is None


async def test_a_destroyed_key_leaves_null_and_the_body_whole() -> None:
    kept = Kept()
    stored = await sealed(kept)
    before = encode(stored)
    kept.rows.clear()
    assert await shown(kept, stored.note) is None
    opened = json.loads(await vault(kept).open_document(msgspec.json.encode(marked_fact(stored, STREAM, 1))))
    assert (opened["complainant"], opened["note"], opened["household"]) == (
        {"name": None, "phone": None, "relation": None},
        None,
        "3-1-201",
    )
    assert encode(stored) == before


async def test_one_destroyed_key_leaves_the_others_readable() -> None:
    kept = Kept()
    stored = await sealed(kept)
    of_the_person = next(key.key_id for key in kept.rows.values() if key.person)
    del kept.rows[of_the_person]
    assert await shown(kept, stored.complainant.name, "name", (STREAM, 1, "complainant.name")) is None
    assert await shown(kept, stored.note) == PERSONAL["note"]


async def test_another_master_key_opens_nothing() -> None:
    kept = Kept()
    stored = await sealed(kept)
    stranger = vault(kept, os.urandom(32))
    with pytest.raises(UnknownMaster):
        await stranger.plain(stored, STREAM, 1)


async def test_one_person_is_one_key_however_the_number_is_written() -> None:
    kept = Kept()
    one = vault(kept)
    spellings = ["13812345678", "+86 138-1234-5678", "１３８１２３４５６７８", "0086 138 1234 5678"]
    used = set()
    for version, phone in enumerate(spellings, start=1):
        fact = msgspec.structs.replace(RECEIVED, complainant=Complainant("李小明", phone), complaint_id=uuid4())
        _, seals = await one.seal(fact, STREAM, version)
        used |= {key.person for key in seals.new if key.person}
        kept.store(seals)
        one.confirm(seals)
    assert len(used) == 1
    assert len({one.person_hashes(phone) for phone in spellings}) == 1
    assert len([key for key in kept.rows.values() if key.person]) == 1


async def test_a_person_is_one_key_under_whichever_phone_key_the_number_stands() -> None:
    kept, new = Kept(), os.urandom(32)
    first = vault(kept)
    fact, seals = await first.seal(RECEIVED, STREAM, 1)
    kept.store(seals)
    (known,) = [key for key in kept.rows.values() if key.person]
    second = Vault(MASTER, PhoneKeys(new, [PHONES]), kept.fetch)
    _, before = await second.seal(RECEIVED, STREAM, 2)
    (made,) = [key for key in before.new if key.person]
    assert made.hashes == second.person_hashes(PERSONAL["phone"]).all
    assert made.hashes[1] == known.person
    # As the append says it: the person has that key, and the one just made is not wanted.
    second.learn([known], [made.key_id])
    again, after = await second.seal(RECEIVED, STREAM, 2)
    assert not [key for key in after.new if key.person]
    tokens = [one.complainant.phone for one in (again, fact) if one.complainant and one.complainant.phone]
    assert [key_of(token) for token in tokens] == [known.key_id] * 2


async def test_a_person_s_hash_needs_the_phone_key() -> None:
    hashes = {Vault(MASTER, os.urandom(32), Kept().fetch).person_hashes("13812345678").current for _ in range(2)}
    assert len(hashes) == 2
    assert all(b"1381234" not in one for one in hashes)


MASKED = [
    ("name", "李小明", "李**"),
    ("phone", "13812345678", "138****5678"),
    ("phone", "0757-22334455", "0757-****4455"),
]


@pytest.mark.parametrize(("kind", "text", "seen"), MASKED)
async def test_a_masked_reader_sees_a_part(kind: str, text: str, seen: str) -> None:
    assert await _masked(kind, text) == seen


async def test_a_masked_reader_sees_no_free_text() -> None:
    assert await _masked("text", "情绪激动") is None


async def _masked(kind: str, text: str) -> Any:
    kept = Kept()
    token = (await sealed(kept, Noted(action_id=ACTION_ID, occurred_at=NOON, text=text))).text
    document = msgspec.json.encode({"field": marked(kind, STREAM, 1, "text", token)})
    return json.loads(await vault(kept).open_document(document, masked=True))["field"]


async def test_texts_that_look_like_json_or_marks_stay_texts() -> None:
    kept = Kept()
    nasty = '","x":"\\ \x01 \u2028 \U0001f600 |1|'
    token = (await sealed(kept, Noted(action_id=ACTION_ID, occurred_at=NOON, text=nasty))).text
    assert await shown(kept, token, where=(STREAM, 1, "text")) == nasty


async def test_the_contact_person_s_phone_is_sealed_and_their_name_answers_for_the_case() -> None:
    wang = ContactPerson("王五", "专员", "0757-22334455")
    fact = Responded(action_id=ACTION_ID, occurred_at=NOON, everyone=True, contact_person=wang)
    stored = encode(await sealed(Kept(), fact))
    assert b"22334455" not in stored
    assert "王五".encode() in stored


async def test_a_fact_about_one_complaint_rests_on_that_complaint_s_key() -> None:
    kept = Kept()
    about: Fact = Noted(action_id=ACTION_ID, occurred_at=NOON, text="看过", complaint=complaint_id(1))
    free: Fact = Noted(action_id=ACTION_ID, occurred_at=NOON, text="看过")
    await sealed(kept, about)
    assert set(kept.rows) == {complaint_id(1)}
    await sealed(kept, free)
    assert set(kept.rows) == {complaint_id(1), STREAM}
