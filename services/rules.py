"""Rules that a request can break: what is wrong, and the clause. Messages in both languages stand in one place."""

from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple


class _Wrong(NamedTuple):
    clause: str | None
    zh: str
    en: str


class Rule(Enum):
    """A rule of the regulation (with its clause), or a house rule (without)."""

    ANSWERED_BEFORE_OBTAINED = _Wrong(
        "3.1", "响应时间早于获取投诉信息的时间", "contacted before the complaint was obtained"
    )
    ATTEMPTED_BEFORE_OBTAINED = _Wrong(
        "3.1", "联系时间早于获取投诉信息的时间", "tried before the complaint was obtained"
    )
    CHASED_BEFORE_OBTAINED = _Wrong(None, "催办时间早于获取投诉信息的时间", "chased before the complaint was obtained")
    NOTHING_TO_ANSWER = _Wrong("3.1", "案卷尚无投诉可响应", "the case has no complaint to answer")
    NOT_AT_RISK_STAGE = _Wrong("4.1", "案卷已不在风险阶段", "the case is past the risk stage")
    NOT_UPWARDS = _Wrong(None, "升级只能逐级向上", "a case is only escalated upwards")
    LEAD_NOT_PRESIDENT = _Wrong(
        "4.4", "突发应急小组须由区域总裁带队", "the regional president leads the emergency team"
    )
    EMERGENCY_TEAM_INCOMPLETE = _Wrong("4.4", "突发应急小组缺少职能", "the emergency team lacks a function")
    ALREADY_CLOSED = _Wrong(None, "案卷已完结", "the case is closed")
    NO_PLAN_PROPOSED = _Wrong("3.2", "本轮尚未提出处理方案", "no plan was proposed in this cycle")
    NO_PLAN_APPROVED = _Wrong("3.2", "尚无已审批的处理方案", "no plan is approved")
    CLOSURE_CRITERIA_NOT_MET = _Wrong("3.2", "未满足完结条件", "the closure criteria are not met")
    NOT_CLOSED = _Wrong(None, "案卷未完结", "the case is not closed")
    BLAMED_BEFORE_CLOSURE = _Wrong("4.5", "完结后方可问责", "accountability is determined after closure")
    ALREADY_BLAMED = _Wrong("4.5", "本轮已问责", "accountability is determined already: correct it")
    NOT_BLAMED = _Wrong("4.5", "问责后方可追责", "sanctions follow accountability")
    LESSON_BEFORE_CLOSURE = _Wrong("4.6", "完结后方可沉淀、应用案例", "lessons follow closure")
    NO_LESSON_RECORDED = _Wrong("4.6", "尚未沉淀案例", "no lesson is recorded")
    ALREADY_LINKED = _Wrong(None, "案卷已有此关联", "the cases are linked so already")
    NOT_LINKED = _Wrong(None, "案卷没有此关联", "the cases are not linked so")
    MERGE_CHAIN = _Wrong(None, "不允许链式合并", "mergers make no chains")
    CASE_MERGED = _Wrong(None, "案卷已合并", "the case is merged into another")
    BEFORE_OPENING = _Wrong("4.1", "早于案卷的建立", "it lies before the case was opened")
    CASE_VOID = _Wrong(None, "案卷已作废", "the case is void")
    CONTRADICTS_LATER_ACTION = _Wrong(
        None, "与其后已记录的动作矛盾", "a step recorded for a later instant could not have been taken"
    )

    # Kept once computed: looking through the enumeration costs more than the rule itself.
    @cached_property
    def code(self) -> str:
        return self.name.lower()

    @cached_property
    def clause(self) -> str | None:
        clause: str | None = self.value.clause
        return clause


class Unmet(NamedTuple):
    """One criterion that failed, with the figures."""

    criterion: str
    required: str
    actual: str


class Refusal(Exception):
    """The state of the case forbids it: 409 with the rule."""

    def __init__(self, rule: Rule, unmet: Sequence[Unmet] = ()) -> None:
        super().__init__(rule.code)
        self.rule, self.unmet = rule, tuple(unmet)


class Fault(NamedTuple):
    """Where in the body, and what. `code` picks the message."""

    pointer: str
    code: str
    given: str | None = None


class Malformed(Exception):
    """The request itself is wrong, whatever the state: 422."""

    def __init__(self, faults: Sequence[Fault], code: str = "validation_failed", clause: str | None = None) -> None:
        super().__init__(code)
        self.faults, self.code, self.clause = tuple(faults), code, clause
