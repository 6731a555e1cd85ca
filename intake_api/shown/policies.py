"""Versions of the regulation, what another one would change, and the words that it uses."""

from grading_engine.policy import Policy
from intake_api.shown.cases import ShownLabel
from intake_api.shown.common import Shown
from services.instants import Instant


class PublishedPolicy(Policy):
    """A version of the regulation, whole; `published_at` is null for the one that came with the service."""

    published_at: Instant | None


class PolicyBrief(Shown):
    """A version, and from when on it judges."""

    number: str
    version: str
    effective_from: Instant
    labels: ShownLabel
    published_at: Instant | None


class PolicyPage(Shown):
    """All versions, in the order in which they take effect."""

    items: list[PolicyBrief]
    next_cursor: None


class Total(Shown):
    """How many cases of a region have a grade, by the document in force and by the draft."""

    region: str
    grade: str
    before: int
    after: int


class ShownVerdict(Shown):
    """A case's grade and duties, by one document."""

    grade: str
    criteria: list[str]
    duties: list[str]


class ShownDifference(Shown):
    """A case whose grade or duties would differ."""

    case_id: str
    case_no: str
    region: str
    opened_at: Instant
    before: ShownVerdict
    after: ShownVerdict


class Impact(Shown):
    """What a draft would change."""

    cases: int
    differing: int
    totals: list[Total]
    items: list[ShownDifference]


class PolicyLabels(Shown):
    """What one version of the regulation calls its levels, criteria and duties."""

    number: str
    version: str
    effective_from: Instant
    label: ShownLabel
    grades: dict[str, ShownLabel]
    criteria: dict[str, ShownLabel]
    duties: dict[str, ShownLabel]


class Labels(Shown):
    """Every enumeration by its name, with its values; under `policies` what each version names itself."""

    labels: dict[str, dict[str, ShownLabel]]
    policies: list[PolicyLabels]
