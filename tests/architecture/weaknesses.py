"""Published weaknesses of the packages that run: ``python -m tests.architecture.weaknesses``, in ``make check``.

Fails for each that is known today. Where nobody has advisories to give, a package without weaknesses looks like one
that was not looked up; so a release with well-known weaknesses is asked about first. Without an answer to that, this
says so and passes; with ``--strict`` it fails.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).resolve().parents[2]
_TOOL = ("uv", "tool", "run", "--quiet", "pip-audit==2.10.1", "--disable-pip", "--progress-spinner", "off")
# CVE-2020-14343, and others.
_KNOWN = "pyyaml==5.1"


class Ended(NamedTuple):
    """How a program ended, and what it wrote."""

    code: int
    out: str


Run = Callable[[Sequence[str], str], Ended]


def looked_up(run: Run, strict: bool) -> tuple[int, str]:
    """The exit code, and what to tell."""
    if not _has_weaknesses(run([*_TOOL, "--no-deps", "--format", "json", "--requirement", "/dev/stdin"], _KNOWN)):
        return int(strict), "Published weaknesses were not looked up: nobody here has advisories to give."
    found = run([*_TOOL, "--strict", "--require-hashes", "--requirement", str(_ROOT / "requirements-run.lock")], "")
    return found.code, found.out or "No published weakness is known of the packages that run."


def _has_weaknesses(ended: Ended) -> bool:
    try:
        return any(one.get("vulns") for one in json.loads(ended.out)["dependencies"])
    except (ValueError, KeyError):
        return False


def _run(command: Sequence[str], said: str) -> Ended:
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([str(tool), *command[1:]], input=said, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout)


if __name__ == "__main__":
    code, told = looked_up(_run, "--strict" in sys.argv)
    print(told)
    sys.exit(code)
