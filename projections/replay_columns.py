"""A replay as tables for spreadsheets: what each kind of item is told by, with headings in both languages."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from projections.export_columns import Cell, Column, Document, Kind, Reader
from projections.labels import duty_text, text
from projections.replay_kept import BREACHES, CASES, DIFFERENCES, FINDINGS, TAMPERED

_YES = {"zh": ("否", "是"), "en": ("no", "yes")}
_JOINT = {"zh": "、", "en": ", "}


def _plain(name: str, document: Document, _: Reader) -> Cell:
    found: Cell = document[name]
    return found


def _instant(name: str, document: Document, _: Reader) -> Cell:
    return datetime.fromisoformat(document[name]) if document[name] else None


def _joined(name: str, document: Document, reader: Reader) -> Cell:
    return _JOINT[reader.language].join(map(str, document[name] or ()))


def _whether(name: str, document: Document, reader: Reader) -> Cell:
    return _YES[reader.language][bool(document[name])]


def _label(enumeration: str, name: str, document: Document, reader: Reader) -> Cell:
    return text(enumeration, document[name], reader.language) if document[name] else None


def reasons(document: Document, reader: Reader) -> str:
    """The signs of a finding by name; of a closing the criteria that are not met."""
    named = document["reasons"]
    kind = "closure_criterion" if document["kind"] == "closed_in_hindsight" else "finding_reason"
    return _JOINT[reader.language].join(text(kind, one, reader.language) for one in named)


def _duty(document: Document, reader: Reader) -> Cell:
    return duty_text(reader.policies, document["duty"], reader.language) if document["duty"] else None


def _column(
    zh: str, en: str, name: str, how: Callable[..., Cell] = _plain, kind: Kind = "text", width: int = 16
) -> Column:
    return Column(zh, en, kind, width, partial(how, name))


def _number(zh: str, en: str, name: str) -> Column:
    return _column(zh, en, name, kind="number", width=10)


def _when(zh: str, en: str, name: str) -> Column:
    return _column(zh, en, name, _instant, "instant", 20)


def _said(zh: str, en: str, enumeration: str, name: str) -> Column:
    return Column(zh, en, "text", 14, partial(_label, enumeration, name))


_WHOSE = (
    _column("案卷编号", "Case number", "case_no", width=18),
    _column("区域编码", "Region code", "region"),
    _column("项目编码", "Project code", "project"),
)
_WHY = ("recorded_later", "occurred_later", "not_followed_yet", "other_policy")
_CASE_ID = _column("案卷标识", "Case id", "case_id", width=38)
_DUE = _when("时限", "Due at", "due_at")
_DUTY = Column("义务", "Duty", "text", 14, _duty)

COLUMNS: Mapping[bytes, tuple[Column, ...]] = {
    CASES: (
        *_WHOSE,
        _said("类别", "Category", "category", "category"),
        _when("立卷时间", "Opened at", "opened_at"),
        _said("阶段", "Stage", "stage", "stage"),
        _said("状态", "Status", "status", "status"),
        _said("定级", "Grade", "grade", "grade"),
        _column("定级依据", "Criteria", "criteria", _joined),
        _column("制度版本", "Policy version", "policy_version"),
        _number("投诉户数", "Households", "household_count"),
        _number("投诉件数", "Complaints", "complaint_count"),
        _column("是否逾期", "Breached", "breached", _whether),
        _CASE_ID,
    ),
    BREACHES: (
        *_WHOSE,
        _DUTY,
        _said("履行状态", "State", "duty_state", "state"),
        _when("起算时间", "Started at", "started_at"),
        _DUE,
        _when("履行时间", "Met at", "met_at"),
        _number("逾期秒数", "Seconds overdue", "overdue_seconds"),
        _column("曾逾期未履行", "Was overdue", "was_overdue", _whether),
        _said("责任单位或岗位", "Owed by", "office", "owed_by"),
        _column("条款", "Clause", "clause"),
        _number("轮次", "Cycle", "cycle"),
        _column("投诉标识", "Complaint id", "complaint_id", width=38),
        _CASE_ID,
    ),
    FINDINGS: (
        *_WHOSE,
        _said("发现", "Finding", "finding", "kind"),
        Column("迹象", "Signs", "text", 24, reasons),
        _column("条款", "Clause", "clause"),
        _when("所记发生时间", "Dated at", "dated_at"),
        _when("录入时间", "Recorded at", "recorded_at"),
        _DUE,
        _DUTY,
        _number("所用界限(秒)", "Threshold in seconds", "threshold_seconds"),
        _column("账本位置", "Positions", "positions", _joined),
        _column("动作标识", "Action ids", "actions", _joined, width=40),
        _column("投诉标识", "Complaint id", "complaint_id", width=38),
        _CASE_ID,
    ),
    DIFFERENCES: (
        _column("案卷编号", "Case number", "case_no", width=18),
        _column("区域编码", "Region code", "region"),
        _column("表", "Table", "table"),
        _column("行", "Row", "key", width=38),
        _column("字段", "Field", "field"),
        _column("回放所得", "Replayed", "replayed"),
        _column("现有视图", "Live", "live"),
        _column("无从解释", "Unexplained", "unexplained", _whether),
        _column("此后录入", "Recorded later", "recorded_later", _joined),
        _column("此后发生", "Occurred later", "occurred_later", _joined),
        _column("视图尚未更新", "Not followed yet", "not_followed_yet", _joined),
        _column("依另一制度", "Other policy", "other_policy", _whether),
        _CASE_ID,
    ),
    TAMPERED: (
        _said("情形", "What", "tampering", "kind"),
        _number("起始位置", "Position", "position"),
        _number("截止位置", "To", "to"),
        _column("区域编码", "Region code", "region"),
        _column("故障", "Fault", "fault"),
        _CASE_ID,
    ),
}


def rows(kind: bytes, item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the lines of a table are of: of a difference each field."""
    if kind != DIFFERENCES:
        yield item
        return
    why = item["explained_by"] or dict.fromkeys(
        ("recorded_later", "occurred_later", "not_followed_yet", "other_policy")
    )
    for field in item["fields"]:
        yield {**item, **why, **field}
