"""Rules that a request can break: what is wrong, and the clause. Messages in both languages stand in one place."""

from collections.abc import Sequence
from enum import Enum
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
    NOTHING_TO_ANSWER = _Wrong("3.1", "案卷尚无投诉可响应", "the case has no complaint to answer")
    NOT_AT_RISK_STAGE = _Wrong("4.1", "案卷已不在风险阶段", "the case is past the risk stage")

    @property
    def code(self) -> str:
        return self.name.lower()

    @property
    def clause(self) -> str | None:
        return self.value.clause


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
