"""The README follows one case with curl: the very lines, run by a shell against a service of its own."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.serving import ROOT, Service, Wire, in_thread

pytestmark = pytest.mark.anyio

# A machine that has only Python, git and make may have no curl: then this does the little that the lines ask of it.
_STAND_IN = """#!{python}
import sys, urllib.error, urllib.parse, urllib.request
headers, data, url, words = {{}}, None, "", iter(sys.argv[1:])
for word in words:
    if word == "-H":
        name, _, value = next(words).partition(": ")
        headers[name] = value
    elif word == "-d":
        data = next(words).encode()
    elif word == "--data-urlencode":
        name, _, value = next(words).partition("=")
        url += "?" + urllib.parse.urlencode({{name: value}})
    elif not word.startswith("-"):
        url = word
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, data, headers))
except urllib.error.HTTPError as problem:
    answer = problem
sys.stdout.buffer.write(answer.read())
"""


def _lines() -> str:
    """The shell block below "Follow one case"."""
    told = (ROOT / "README.md").read_text("utf-8").partition("## Follow one case")[2]
    found = re.search(r"```bash\n(.*?)```", told, re.DOTALL)
    assert found
    return found.group(1)


def _run(service: Service, token: str, tools: Path) -> list[dict[str, object]]:
    if not shutil.which("curl"):
        tools.mkdir()
        curl = tools / "curl"
        curl.write_text(_STAND_IN.format(python=sys.executable))
        curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _lines()],
        env={
            **service.environment,
            "TOKEN": token,
            "A": f"http://127.0.0.1:{service.port}",
            "PATH": f"{tools}:{service.environment['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


async def test_the_readme_s_lines_lead_from_the_first_risk_to_the_applied_lesson(
    tmp_path: Path, database_url: str
) -> None:
    service = Service(tmp_path / "data", database_url)
    try:
        await in_thread(service.start)
        await service.describe_directory()
        token = service.token()
        answers = await in_thread(_run, service, token, tmp_path / "tools")
        async with Wire(service.port, token) as wire:
            number = str(answers[0]["case"]["case_no"])
            case = (await wire.ask("GET", f"/v1/cases/{number}")).json
    finally:
        service.end()
    refused = [answer["code"] for answer in answers if "code" in answer]
    assert refused == ["closure_criteria_not_met"]
    assert case == answers[-5]
    assert (case["status"], case["stage"], case["escalation_level"]) == ("accounted", "complaint", "region")
    assert (case["household_count"], case["facts"]) == (2, {"compensation": "20000.00"})
    assert [cycle["closure"]["decision"] for cycle in case["cycles"]] == ["维修完成"]
    assert case["closure"]["decision"] == "复查无渗水"
    assert case["lessons"][0]["applied"][0]["applied_to"] == "佛山二期外墙工程"
    assert case["inconsistencies"] == []
    types = [action["type"] for action in answers[-4]["items"]]
    assert (types[0], types[-1]) == ("risk_identified", "lesson_applied")
    cases, breaches, summary = answers[-3:]
    assert [one["case_no"] for one in cases["items"]] == [number]
    assert breaches["items"] == []
    # The neighbour's case counts as opened; its household and complaint are its target's.
    assert [(one["region"], one["opened"], one["responded_in_time"]) for one in summary["items"]] == [("GD", 2, 2)]
