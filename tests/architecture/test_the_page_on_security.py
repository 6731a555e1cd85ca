"""What docs/security.md names as its proof is there."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", _PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_each_test_that_is_named_exists(file: str, test: str) -> None:
    text = (_ROOT / file).read_text()
    assert not test or re.search(rf"def {test}\(", text)


def test_each_line_of_the_standard_names_a_test_or_a_reason() -> None:
    rows = re.findall(r"^\| (\d+\.\d[^|]*)\|([^|]*)\|([^|]*)\|$", _PAGE, re.MULTILINE)
    assert len(rows) > 60
    assert [line for line, met, by in rows if not met.strip() or not by.strip()] == []
    assert len(NAMED) > 30
