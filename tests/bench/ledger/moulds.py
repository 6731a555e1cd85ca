"""A story as a mould: each body cut at what differs between the copies of a case."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

from services.events import Complainant, ContactPerson, Opening, encode
from services.personal import SealedField, fields_of, transform
from tests.bench.ledger.sealing import Sealer
from tests.bench.ledger.telling import BEGINNING, Teller

_MICROSECOND = timedelta(microseconds=1)
_SLOT = re.compile(
    rb"51075107-0000-0000-0000-(?P<id>[0-9a-f]{12})|(?P<at>2\d{3}-\d\d-\d\dT[0-9:.]+Z)|TEXT-SLOT-(?P<text>\d+)-"
    rb"|(?P<project>PROJECT-SLOT)|REFERENCE-SLOT-(?P<reference>\d+)|HOUSE(?P<house>\d+)"
)
_NUMBER = re.compile(rb'"case_no":"[^"]+"')
_NUMBERED = Struct("<QI")
_PLACES = ("地下室", "外墙", "卫生间", "厨房", "阳台", "主卧窗边", "电梯厅", "车库坡道", "屋面", "消防通道", "小区东门")
_TROUBLES = ("渗水", "空鼓开裂", "返潮发霉", "堵塞倒灌", "停运多日", "瓷砖脱落", "漏电跳闸", "噪音扰民", "收费有误")
_WISHES = ("要求尽快维修", "要求赔偿损失", "多次报修无果", "业主情绪激动", "要求书面答复", "希望更换")
_PROSE = (
    "客户来电反映情况属实，已安排工程师明日上午九点上门查看。",
    "现场查看后确认为防水层破损，需整体重做，预计工期十天。",
    "已与客户沟通维修方案与时间安排，客户表示认可，后续由专人跟进。",
    "客户对上次维修结果不满意，要求项目负责人当面说明原因并给出书面承诺。",
    "已联系施工单位与物业共同到场，影像资料已上传，等待监理意见。",
)
_SURNAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡林郭何高罗"


class Text(NamedTuple):
    """A text to be sealed: with the key of a person (`phone`: theirs in the story), else of a case or complaint."""

    kind: str
    path: bytes
    key: int
    phone: str


class Piece(NamedTuple):
    """One action of a story. `parts` stand between `slots`; times in microseconds after the story's beginning.

    `keys`: ids whose data keys seal a text here for the first time; `is_open`: whether the case stands open then.
    """

    stream: int
    version: int
    name: str
    actor: str
    recorded: int
    occurred: int
    category: str
    is_open: bool
    keys: tuple[int, ...]
    parts: tuple[bytes, ...]
    slots: tuple[tuple[str, Any], ...]


class Mould(NamedTuple):
    """A story; `made`: when each of its ids was made."""

    pieces: Sequence[Piece]
    made: Sequence[int]


def cast(teller: Teller) -> Mould:
    """The mould of a story."""
    told = teller.finished()
    known: set[int] = set()
    pieces = []
    for entry, is_open in told:
        texts: list[Text] = []

        def close(text: str, field: SealedField, path: str, owner: Any, fact: Any = entry, held: Any = texts) -> str:
            if field.kind == "staff":
                return text
            phone = owner.phone if isinstance(owner, Complainant | ContactPerson) and owner.phone else ""
            subject = fact.stream if isinstance(owner, Opening) else fact.action.about() or fact.stream
            held.append(Text(field.kind, path.encode(), _id(subject), phone))
            return f"TEXT-SLOT-{len(held) - 1}-"

        action = entry.action
        body = encode(transform(action, fields_of(type(action)), close))
        parts, slots = _cut(_NUMBER.sub(b'"case_no":"NUMBER"', body, 1), texts)
        keys = {text.key for text in texts if not text.phone} - known
        known |= keys
        category = action.opening.category if action.opening else ""
        when = _after(entry.recorded_at), _after(action.occurred_at)
        who = _id(entry.stream), entry.version, action.name, entry.actor
        pieces.append(Piece(*who, *when, category, is_open, tuple(keys), parts, slots))
    return Mould(pieces, [_after(at) for at in teller.ids])


def _cut(body: bytes, texts: Sequence[Text]) -> tuple[tuple[bytes, ...], tuple[tuple[str, Any], ...]]:
    parts: list[bytes] = []
    slots: list[tuple[str, Any]] = []
    begin = 0
    head, number, tail = body.partition(b"NUMBER")
    if number:
        parts.append(head)
        slots.append(("number", None))
        body = tail
    for found in _SLOT.finditer(body):
        kind = found.lastgroup or ""
        value = found.group(kind)
        parts.append(body[begin : found.start()])
        slots.append((kind, _VALUES[kind](value) if kind != "text" else texts[int(value)]))
        begin = found.end()
    return (*parts, body[begin:]), tuple(slots)


def _id(made: UUID) -> int:
    return made.int & 0xFFFF_FFFF_FFFF


def _after(at: datetime) -> int:
    return (at - BEGINNING) // _MICROSECOND


_VALUES: dict[str, Any] = {
    "id": lambda value: int(value, 16),
    "at": lambda value: _after(datetime.fromisoformat(value.decode())),
    "project": lambda value: None,
    "reference": int,
    "house": int,
}


class Copy:
    """One copy of a story: its own beginning (µs since 1970), project, people and words."""

    __slots__ = ("_begin", "_chance", "_customers", "_made", "_number", "_project", "_seed")

    def __init__(self, number: int, begin: int, project: bytes, mould: Mould, seed: bytes, customers: int) -> None:
        self._number, self._begin, self._project, self._made = number, begin, project, mould.made
        self._seed, self._customers = seed, customers
        self._chance = self._random(b"copy", 0)

    def id(self, number: int) -> UUID:
        """A UUIDv7 of the instant at which it is made."""
        milliseconds = (self._begin + self._made[number]) // 1000
        rest = self._random(b"id", number)
        value = milliseconds << 80 | 0x7 << 76 | (rest >> 68 & 0xFFF) << 64 | 0b10 << 62 | rest & (1 << 62) - 1
        return UUID(int=value)

    def reference(self, number: int) -> str:
        """The call centre's own number of the case."""
        return f"CC-{self._number:07d}-{number}"

    def body(self, piece: Piece, stream: UUID, case_no: str, sealer: Sealer) -> bytes:
        """The stored body of an action."""
        filled = [piece.parts[0]]
        for (kind, value), part in zip(piece.slots, piece.parts[1:], strict=True):
            if kind == "text":
                filled.append(self._sealed(value, stream, piece.version, sealer))
            elif kind == "id":
                filled.append(str(self.id(value)).encode())
            elif kind == "at":
                filled.append(_written(self._begin + value))
            elif kind == "house":
                filled.append(self._household(value))
            elif kind == "number":
                filled.append(case_no.encode())
            elif kind == "project":
                filled.append(self._project)
            else:
                filled.append(self.reference(value).encode())
            filled.append(part)
        return b"".join(filled)

    def phone(self, told: str) -> str:
        """The telephone number of whom the story calls so."""
        own, number = told[:7], int(told[7:])
        if own == "1390000":
            return staff_phone((self._chance + number) % STAFF)
        return customer_phone((self._chance // 7 + number * 7919) % self._customers)

    def _household(self, number: int) -> bytes:
        place = (self._chance + number) % 4000
        return b"%d-%d-%d%02d" % (place // 400 + 1, place // 200 % 2 + 1, place // 8 % 25 + 1, place % 8 + 1)

    def _sealed(self, text: Text, stream: UUID, version: int, sealer: Sealer) -> bytes:
        phone = self.phone(text.phone) if text.phone else ""
        key = sealer.key_of(phone) if phone else self.id(text.key)
        return sealer.token(key, self._said(text, phone, version), stream, version, text.path)

    def _said(self, text: Text, phone: str, version: int) -> str:
        chance = self._chance + version
        if text.kind == "phone":
            return phone
        if text.kind == "name":
            return f"{_SURNAMES[chance % len(_SURNAMES)]}先生"
        if text.path.endswith(b"title"):
            place, trouble, wish = (chance // 3) % len(_PLACES), (chance // 50) % len(_TROUBLES), chance % len(_WISHES)
            return f"{chance % 30 + 1}栋{_PLACES[place]}{_TROUBLES[trouble]}，{_WISHES[wish]}"
        if text.path.endswith(b"relation"):
            return "业主"
        return _PROSE[chance % len(_PROSE)] + (_PROSE[chance // 9 % len(_PROSE)] if chance % 3 else "")

    def _random(self, use: bytes, number: int) -> int:
        packed = _NUMBERED.pack(self._number, number)
        return int.from_bytes(blake2b(packed, key=self._seed, person=use, digest_size=10).digest())


STAFF = 300


def customer_phone(number: int) -> str:
    return f"138{number:08d}"


def staff_phone(number: int) -> str:
    return f"139{number:08d}"


_EPOCH = datetime(1970, 1, 1, tzinfo=BEGINNING.tzinfo)


def instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _written(microseconds: int) -> bytes:
    return instant(microseconds).isoformat().replace("+00:00", "Z").encode()
