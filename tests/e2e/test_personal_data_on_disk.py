"""Every byte that the service leaves behind is searched for what people said; what is in clear is found."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.embedded_postgres import EmbeddedPostgres
from services.migrations import migrate
from tests.e2e.serving import PROJECT, REGION, Service, Wire, in_thread, opening

pytestmark = pytest.mark.anyio

PERSONAL: dict[str, str] = {
    "complainant.name": "欧阳慕容雪",
    "complainant.phone": "13987654321",
    "complainant.phone in another spelling": "+86 137-6543-2198",
    "complainant.phone in full width": "１３６５４３２１９８７",
    "complainant.phone of a landline": "0757-87651234转8801",
    "complainant.relation": "业主的外甥女婿",
    "contact_person.phone": "0757-76512348",
    "title": "卫生间天花渗漏致孕妇滑倒",
    "description": "孕妇在三楼转角摔伤入院",
    "unrest": "业主相约周六举横幅",
    "note": "来电人哭泣不止",
    "note of an action": "回访时仍在哭泣",
    "text": "女儿在市第二人民医院住院",
    "evidence.ref": "录音/欧阳慕容雪/0001.wav",
    "president.phone": "13512349876",
    "manager.phone": "0755-23498765",
    "refused name": "诸葛不见了",
    "refused phone": "13498761234",
    "refused text": "此句话本不应存下",
    "a word in a query": "端木查无此人",
}
# What stands in clear on purpose, so that a search that finds nothing proves something.
# The last one stands in kept answers alone.
CONTROLS = ["七十七栋九单元1808室", "坐席王小二", "HL-控制-0001", "in_concentrated_warranty"]
# Large values would lie compressed, where no search finds anything.
_UNCOMPRESSED = """
SELECT format('ALTER TABLE %I ALTER COLUMN %I SET STORAGE EXTERNAL', relname, attname)
FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND attstorage = 'x'
"""


def _forms(text: str) -> dict[str, bytes]:
    """A text as it could lie on a disk."""
    digits = "".join(filter(str.isdecimal, text))
    spelled = {text, text.translate(_HALF_WIDTH)} | (
        {digits, digits.removeprefix("86")} if len(digits) >= 10 else set()
    )
    forms = {}
    for one in spelled:
        forms[f"{one} in UTF-8"] = one.encode()
        forms[f"{one} in UTF-16 LE"] = one.encode("utf-16-le")
        forms[f"{one} in UTF-16 BE"] = one.encode("utf-16-be")
        forms[f"{one} in JSON"] = json.dumps(one).strip('"').encode()
        forms[f"{one} in JSON, upper case"] = _upper_escapes(json.dumps(one).strip('"')).encode()
        forms[f"{one} in Python"] = ascii(one).strip("'").encode()
        forms[f"{one} percent-encoded"] = "".join(f"%{byte:02X}" for byte in one.encode()).encode()
        forms[f"{one} in hex"] = one.encode().hex().encode()
    return forms


_HALF_WIDTH = {ord("０") + n: ord("0") + n for n in range(10)}


def _upper_escapes(text: str) -> str:
    return "".join(f"\\u{ord(char):04X}" if ord(char) > 127 else char for char in json.loads(f'"{text}"'))


def _found(files: Iterable[Path], texts: Iterable[str]) -> list[str]:
    contents = [(file, file.read_bytes()) for file in files]
    return [
        f"{text}: {form} in {file.name}"
        for text in texts
        for form, wanted in _forms(text).items()
        for file, content in contents
        if wanted in content
    ]


def _whole_opening(phone: str, **fields: Any) -> dict[str, Any]:
    said = PERSONAL
    return opening(
        title=said["title"],
        description=said["description"],
        unrest=said["unrest"],
        note=said["note"],
        household=CONTROLS[0],
        external_ref=f"{CONTROLS[2]}-{uuid4()}",
        operator={"id": "1", "name": CONTROLS[1]},
        evidence=[{"kind": "recording", "ref": said["evidence.ref"]}],
        complainant={"name": said["complainant.name"], "phone": phone, "relation": said["complainant.relation"]},
        **fields,
    )


async def _say_everything(service: Service) -> None:
    """Through every field that takes personal data."""
    said = PERSONAL
    async with Wire(service.port, service.token("admin")) as admin:
        president = {"name": "赵一", "phone": said["president.phone"]}
        manager = {"name": "孙六", "phone": said["manager.phone"]}
        region = {"name": "广东区域", "president": president}
        project = {"name": "佛山一号院", "region": REGION, "managers": {"project": manager}}
        for path, body in ((f"/v1/regions/{REGION}", region), (f"/v1/projects/{PROJECT}", project)):
            assert (await admin.ask("PUT", path, body)).status == 200
    async with Wire(service.port, service.token("agent", REGION)) as agent:
        cases = []
        for name, phone in said.items():
            if name.startswith("complainant.phone"):
                answer = await _post(agent, "/v1/cases", _whole_opening(phone))
                assert answer.status == 201, answer.body
                cases.append(answer.json["case_id"])
        for case in cases:
            for body in _actions():
                answer = await _post(agent, f"/v1/cases/{case}/actions", body)
                assert answer.status == 201, answer.body
            for path in ("", "/actions", "/complaints"):
                assert (await agent.ask("GET", f"/v1/cases/{case}{path}")).status == 200
        warning = await _post(
            agent,
            "/v1/cases",
            {
                "project": PROJECT,
                "category": "marketing",
                "stage": "warning",
                "title": said["title"],
                "unrest": said["unrest"],
            },
        )
        assert warning.status == 201, warning.body
        risk = (
            await _post(
                agent,
                "/v1/cases",
                {"project": PROJECT, "category": "marketing", "stage": "risk", "title": said["title"]},
            )
        ).json["case_id"]
        warned = await _post(agent, f"/v1/cases/{risk}/actions", {"type": "warned", "unrest": said["unrest"]})
        assert warned.status == 201


def _actions() -> list[dict[str, Any]]:
    said, now = PERSONAL, "2026-01-15T17:00:00+08:00"
    person = {"name": "王五", "title": "专员", "phone": said["contact_person.phone"]}
    return [
        {"type": "noted", "text": said["text"], "note": said["note of an action"]},
        {
            "type": "responded",
            "complaints": "all",
            "contacted_at": now,
            "contact_person": person,
            "note": said["note of an action"],
            "evidence": [{"kind": "photo", "ref": said["evidence.ref"]}],
        },
        {
            "type": "received",
            "obtained_at": now,
            "channel": "app",
            "note": said["note"],
            "complainant": {"name": said["complainant.name"], "phone": said["complainant.phone"]},
        },
    ]


async def _be_refused(service: Service) -> None:
    """Personal data in requests that come to nothing: malformed, refused, unknown, unauthenticated, torn off."""
    said = PERSONAL
    who = {"name": said["refused name"], "phone": said["refused phone"], "relation": said["refused text"]}
    async with Wire(service.port, service.token("agent", REGION)) as agent:
        case = (await _post(agent, "/v1/cases", opening())).json["case_id"]
        path = f"/v1/cases/{case}/actions"
        early = {
            "type": "responded",
            "complaints": "all",
            "contacted_at": "2026-01-01T00:00:00Z",
            "contact_person": {
                "name": said["refused name"],
                "title": said["refused text"],
                "phone": said["refused phone"],
            },
            "note": said["refused text"],
        }
        refused: list[tuple[str, object]] = [
            ("/v1/cases", opening(complainant=who, channel=said["refused text"])),
            ("/v1/cases", opening(complainant=who, project=said["refused name"])),
            ("/v1/cases", opening(complainant=who, obtained_at=said["refused phone"])),
            ("/v1/cases", opening(**{said["refused name"]: said["refused phone"]})),
            ("/v1/cases", opening(complainant={**who, "phone": [said["refused phone"]]})),
            (
                "/v1/cases",
                f'{{"{said["refused name"]}":1,"{said["refused name"]}":"{said["refused phone"]}"}}'.encode(),
            ),
            ("/v1/cases", f'{{"title":"{said["refused text"]}\\u0000"}}'.encode()),
            ("/v1/cases", said["refused text"].encode()),
            ("/v1/cases", said["refused text"].encode("utf-16")),
            (path, early),
            (path, {"type": "warned", "unrest": said["refused text"]}),
            (path, {"type": "noted", "text": said["refused text"], "complaint": str(uuid4())}),
            (path, {"type": "chased", "complaint": said["refused phone"], "channel": "app"}),
            (f"/v1/cases/{uuid4()}/actions", {"type": "noted", "text": said["refused text"]}),
            ("/v1/nowhere", {"text": said["refused text"]}),
        ]
        for where, body in refused:
            assert 400 <= (await _post(agent, where, body)).status < 500
        word = "".join(f"%{byte:02X}" for byte in said["a word in a query"].encode())
        assert (await agent.ask("GET", f"/v1/cases?q={word}")).status == 200
        for where in (f"/v1/cases?tagged={word}", f"/v1/cases?cursor={word}", f"/v1/cases/{word}", f"/v1/{word}"):
            assert 400 <= (await agent.ask("GET", where)).status < 500
    async with Wire(service.port, said["refused phone"]) as nobody:
        assert (await _post(nobody, "/v1/cases", opening(complainant=who))).status == 401
    await _tear_off(
        service, json.dumps(opening(complainant=who, note=said["refused text"]), ensure_ascii=False).encode()
    )


async def _tear_off(service: Service, body: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = (
        f"POST /v1/cases HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {service.token()}\r\nContent-Length: 9999\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()


async def _post(wire: Wire, path: str, body: object) -> Any:
    return await wire.ask("POST", path, body, Idempotency_Key=str(uuid4()), Accept_Language="zh")


async def test_no_byte_on_disk_says_who_complained_or_what_they_said(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    server.start({"fsync": "off", "full_page_writes": "on"})
    try:
        server.create_database("anjuan")
        url = server.url("anjuan")
        migrate(url)
        with psycopg.connect(url) as connection:
            changes = [row[0] for row in connection.execute(_UNCOMPRESSED)]
            assert len(changes) > 5
            for change in changes:
                connection.execute(change)
        service = Service(tmp_path / "service", url, ANJUAN_LOG_LEVEL="debug")
        try:
            await in_thread(service.start)
            await _say_everything(service)
            await _be_refused(service)
            # Statements that fail or are cancelled, while rows with everything in them are on their way.
            await _with_a_lock_in_the_way(service, url)
            assert await in_thread(service.stop) == 0
        finally:
            service.end()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
    finally:
        server.stop()
    folders = {tmp_path, server.cluster_dir.parent}
    files = list({file for folder in folders for file in folder.rglob("*") if file.is_file()})
    control = {text: [hit for hit in _found(files, [text]) if "in UTF-8" in hit] for text in CONTROLS}
    assert all(control.values()), f"the search cannot find: {control}"
    for text in (CONTROLS[0], CONTROLS[-1]):
        names = {hit.rpartition(" ")[2] for hit in control[text]}
        assert any(len(name) == 24 for name in names), f"{text} is not even in the write-ahead log"
        assert any(name.isdecimal() and len(name) < 10 for name in names), f"{text} is not even in a table"
    said = service.said()
    assert '"event": "request"' in said or '"event":"request"' in said, "nothing was logged, so nothing was searched"
    assert service.log in files
    assert _found(files, PERSONAL.values()) == []


async def _with_a_lock_in_the_way(service: Service, url: str) -> None:
    async with (
        Wire(service.port, service.token("agent", REGION)) as agent,
        await psycopg.AsyncConnection.connect(url) as other,
    ):
        await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        answer = await _post(agent, "/v1/cases", _whole_opening(PERSONAL["complainant.phone"]))
        assert answer.status == 503


@pytest.mark.parametrize("name", PERSONAL)
def test_the_search_finds_each_text_in_every_form(name: str, tmp_path: Path) -> None:
    text = PERSONAL[name]
    for number, (form, content) in enumerate(_forms(text).items()):
        file = tmp_path / str(number)
        file.write_bytes(b"\0" * 8192 + content + b"\xff")
        assert any(form in hit for hit in _found([file], [text]))
