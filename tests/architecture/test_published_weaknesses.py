"""The look for published weaknesses fails when there are some, and never passes for want of advisories unnoticed."""

import json
from collections.abc import Sequence

import pytest

from tests.architecture.weaknesses import Ended, Run, looked_up

_KNOWN = json.dumps({"dependencies": [{"name": "pyyaml", "version": "5.1", "vulns": [{"id": "CVE-2020-14343"}]}]})
_SKIPPED = json.dumps({"dependencies": [{"name": "pyyaml", "skip_reason": "not found"}], "fixes": []})


def _answering(known: Ended, ours: Ended) -> Run:
    def run(command: Sequence[str], _: str) -> Ended:
        return ours if any(word.endswith("requirements-run.lock") for word in command) else known

    return run


def test_a_package_with_a_weakness_fails() -> None:
    found = looked_up(_answering(Ended(1, _KNOWN), Ended(1, "h11 0.1 CVE-2025-43859")), strict=False)
    assert found == (1, "h11 0.1 CVE-2025-43859")


def test_none_is_told_when_there_is_none() -> None:
    assert looked_up(_answering(Ended(1, _KNOWN), Ended(0, "")), strict=True)[0] == 0


@pytest.mark.parametrize("known", [Ended(0, _SKIPPED), Ended(1, ""), Ended(2, "no network"), Ended(0, "{}")])
def test_without_advisories_it_says_so_and_fails_only_when_it_must_look(known: Ended) -> None:
    run = _answering(known, Ended(0, ""))
    assert [looked_up(run, strict)[0] for strict in (False, True)] == [0, 1]
    assert "not looked up" in looked_up(run, strict=False)[1]
