"""The columns of an export: their headings in both languages, and how a document fills them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple

from grading_engine.policy import Policy
from projections.labels import duty_text, text

Kind = Literal["text", "number", "instant"]
# Text, a whole number, an instant, or nothing.
Cell = str | int | datetime | None
Document = Mapping[str, Any]

_SECOND = timedelta(seconds=1)
_YES = {"zh": ("否", "是"), "en": ("no", "yes")}
_JOINT = {"zh": "、", "en": ", "}


class Reader(NamedTuple):
    """For whom and of when a file is: its language, the instant that its states are of, and the policies' words."""

    language: str
    now: datetime
    policies: Sequence[Policy]


class Column(NamedTuple):
    """`width` in characters; `cell` takes what a document says and makes it readable."""

    zh: str
    en: str
    kind: Kind
    width: int
    cell: Callable[[Document, Reader], Cell]

    def heading(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


def _at(document: Document, path: str) -> Any:
    """What stands at a path; nothing where a part of it is missing."""
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if found else None
    return found


def _plain(path: str, document: Document, _: Reader) -> Cell:
    found: Cell = _at(document, path)
    return found


def _instant(path: str, document: Document, _: Reader) -> Cell:
    found = _at(document, path)
    return datetime.fromisoformat(found) if found else None


def _label(enumeration: str, path: str, document: Document, reader: Reader) -> Cell:
    found = _at(document, path)
    return text(enumeration, found, reader.language) if found else None


def _yes(path: str, document: Document, reader: Reader) -> Cell:
    found = _at(document, path)
    return None if found is None else _YES[reader.language][bool(found)]


def _grade(path: str, document: Document, reader: Reader) -> Cell:
    """As the document that judged it calls it."""
    return _at(document, f"{path}grade.label.{reader.language}")  # type: ignore[no-any-return]


def _criteria(path: str, document: Document, reader: Reader) -> Cell:
    return _JOINT[reader.language].join(_at(document, f"{path}grade.criteria") or ())


def _duty(document: Document, reader: Reader) -> Cell:
    return duty_text(reader.policies, document["duty"], reader.language)


def _overdue(document: Document, reader: Reader) -> Cell:
    """Seconds beyond the time: final once met, else up to the file's instant."""
    if document["state"] == "overdue":
        return (reader.now - datetime.fromisoformat(document["due_at"])) // _SECOND
    return document["overdue_seconds"]  # type: ignore[no-any-return]


def _owed_by(document: Document, reader: Reader) -> Cell:
    """A unit or a person; the office itself while nobody is named."""
    found = document["owed_by"]
    return text("office", found, reader.language) if found == document["owed_by_office"] else found


def _text(zh: str, en: str, path: str, width: int = 14) -> Column:
    return Column(zh, en, "text", width, partial(_plain, path))


def _number(zh: str, en: str, path: str) -> Column:
    return Column(zh, en, "number", 10, partial(_plain, path))


def _when(zh: str, en: str, path: str) -> Column:
    return Column(zh, en, "instant", 20, partial(_instant, path))


def _said(zh: str, en: str, enumeration: str, path: str) -> Column:
    return Column(zh, en, "text", 12, partial(_label, enumeration, path))


def _whether(zh: str, en: str, path: str) -> Column:
    return Column(zh, en, "text", 10, partial(_yes, path))


def _case(at: str) -> tuple[Column, ...]:
    """Where a case is and what about; `at` leads to its head."""
    return (
        _text("区域编码", "Region code", f"{at}region", 10),
        _text("区域", "Region", "region_name"),
        _text("项目编码", "Project code", f"{at}project"),
        _text("项目", "Project", "project_name", 20),
        _text("城市", "City", f"{at}city", 10),
        _text("片区", "Area", f"{at}area", 10),
        _said("类别", "Category", "category", f"{at}category"),
        Column("定级", "Grade", "text", 10, partial(_grade, at)),
        Column("定级依据", "Criteria", "text", 16, partial(_criteria, at)),
        _said("阶段", "Stage", "stage", f"{at}stage"),
        _said("状态", "Status", "status", f"{at}status"),
        _said("升级层级", "Escalation level", "escalation_level", f"{at}escalation_level"),
    )


CASES: tuple[Column, ...] = (
    _text("案卷编号", "Case number", "case_no", 18),
    _text("标题", "Title", "title", 40),
    *_case(""),
    _whether("是否逾期", "Breached", "breached"),
    _when("最近时限", "Next due", "due_at"),
    _number("投诉户数", "Households", "household_count"),
    _number("投诉件数", "Complaints", "complaint_count"),
    _number("完结后新增投诉", "Complaints since closure", "complaints_since_closure"),
    _said("第一处理责任人职务", "Office of first responsible", "responsible_role", "responsible.role"),
    _text("第一处理责任人", "First responsible", "responsible.name"),
    _text("责任人电话", "Telephone of first responsible", "responsible.phone", 16),
    _whether("集中保修期", "In concentrated warranty", "in_concentrated_warranty"),
    _text("外部编号", "External reference", "external_ref", 18),
    _when("立卷时间", "Opened at", "opened_at"),
    _when("完结时间", "Closed at", "closed_at"),
    _when("更新时间", "Updated at", "updated_at"),
    _number("版本", "Version", "version"),
    _text("案卷标识", "Case id", "case_id", 38),
)

BREACHES: tuple[Column, ...] = (
    _text("案卷编号", "Case number", "case.case_no", 18),
    _text("标题", "Title", "case.title", 40),
    Column("义务", "Duty", "text", 14, _duty),
    _said("履行状态", "State", "duty_state", "state"),
    _when("起算时间", "Started at", "started_at"),
    _when("时限", "Due at", "due_at"),
    _when("履行时间", "Met at", "met_at"),
    Column("逾期秒数", "Seconds overdue", "number", 12, _overdue),
    _whether("曾逾期未履行", "Was overdue", "was_overdue"),
    _said("责任岗位", "Office owing it", "office", "owed_by_office"),
    Column("责任单位或责任人", "Owed by", "text", 18, _owed_by),
    _said("督办", "Supervised by", "office", "supervised_by"),
    _text("条款", "Clause", "clause", 8),
    _text("房号", "Household", "household"),
    *_case("case."),
    _number("轮次", "Cycle", "cycle"),
    _text("投诉标识", "Complaint id", "complaint_id", 38),
    _text("案卷标识", "Case id", "case_id", 38),
)
