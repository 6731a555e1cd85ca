"""The house stands as it was meant: one direction, fresh documents, named terms."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from intake_api.openapi import ACTION_BODIES
from projections.tables import DECLARED
from services import events
from services.migrations import differences, is_current
from services.permit import RULES
from services.rules import Rule
from tests.architecture import documents

ROOT = Path(__file__).resolve().parents[2]
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_documents_made_from_the_code_are_fresh() -> None:
    assert documents.stale() == []


@pytest.mark.parametrize("kind", [*events.KINDS.values()], ids=lambda kind: kind.name)
def test_each_event_opens_its_docstring_with_its_term_and_names_its_clause(kind: type[events.Fact]) -> None:
    first = (kind.__doc__ or "").split(".")[0]
    assert _CHINESE.search(first), f"{kind.__name__} does not open with the Chinese term"
    assert re.search(r"\(\d\.\d|\(clause \d|\(house rule", kind.__doc__ or ""), f"{kind.__name__} names no clause"


def test_every_rule_is_told_of_the_actions_that_it_can_refuse() -> None:
    anywhere = {Rule.BEFORE_OPENING, Rule.CASE_VOID, Rule.CASE_MERGED, Rule.CONTRADICTS_LATER_ACTION}
    assert set(Rule) == anywhere.union(*RULES.values())
    assert RULES.keys() <= events.ACTIONS.keys()


@pytest.mark.parametrize("body", ACTION_BODIES, ids=lambda body: body.__name__)
def test_an_action_s_type_is_the_stored_name_of_its_event(body: type) -> None:
    kind = body.model_fields["type"].annotation.__args__[0]  # type: ignore[attr-defined]
    assert events.ACTIONS[kind].name == kind


def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    assert is_current(database_url)
    assert differences(database_url, DECLARED) == []
    assert len(DECLARED.tables) == 39


def test_nothing_under_alembic_shadows_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_the_lock_names_no_address() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
