"""Regions and projects of the made-up group, as the directory's first events."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.directory import project_stream, region_stream
from services.events import Managers, Person, ProjectDescribed, RegionDescribed, encode
from services.personal import SealedField, fields_of, transform
from tests.bench.ledger.moulds import STAFF, staff_phone
from tests.bench.ledger.sealing import Sealer

REGIONS = ("GD", "HN", "HB", "SH", "BJ", "SC", "ZJ", "JS", "SD", "FJ")
PROJECTS = 200
_SURNAMES = "钱孙冯陈褚卫蒋沈韩杨"


class Project(NamedTuple):
    """Where a case may lie."""

    code: str
    region: str


class Described(NamedTuple):
    """An event of the directory before it has a position."""

    stream: UUID
    name: str
    region: str
    body: bytes


def projects() -> list[Project]:
    """Twenty in each region."""
    return [Project(f"{REGIONS[n % 10]}-P{n // 10:03d}", REGIONS[n % 10]) for n in range(PROJECTS)]


def directory(since: datetime, sealer: Sealer) -> Iterator[Described]:
    """Every region and project, with who leads it."""
    for number, code in enumerate(REGIONS):
        stream = region_stream(code)
        region = RegionDescribed(
            code=code,
            title=f"{code}区域公司",
            valid_from=since,
            president=_person(3 * number),
            customer_relations_executive=_person(3 * number + 1),
            customer_relations_lead=_person(3 * number + 2),
        )
        yield Described(stream, region.name, code, encode(_sealed(region, stream, sealer)))
    for number, (code, region_code) in enumerate(projects()):
        stream = project_stream(code)
        project = ProjectDescribed(
            code=code,
            title=f"{code}花园",
            region=region_code,
            valid_from=since,
            city=f"{region_code}城市{number // 10 % 4}",
            area=f"{region_code}片区{number // 10 % 2}",
            handover_started_at=since + timedelta(days=number),
            handover_finished_at=since + timedelta(days=number + 90) if number % 3 else None,
            managers=Managers(_person(30 + number) if number % 7 else None, _person(40 + number % 9), _person(50)),
        )
        yield Described(stream, project.name, region_code, encode(_sealed(project, stream, sealer)))


def _person(number: int) -> Person:
    return Person(f"{_SURNAMES[number % len(_SURNAMES)]}{number}", staff_phone(number % STAFF))


def _sealed(
    fact: RegionDescribed | ProjectDescribed, stream: UUID, sealer: Sealer
) -> RegionDescribed | ProjectDescribed:
    def close(text: str, field: SealedField, path: str, owner: Person) -> str:
        if field.kind == "staff":
            return text
        key = sealer.key_of(owner.phone or "")
        return sealer.token(key, text, stream, 1, path.encode()).decode()

    return transform(fact, fields_of(type(fact)), close)
