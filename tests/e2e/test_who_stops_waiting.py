"""A caller who stops waiting in the middle of a look leaves a connection that nobody meets again, and a living process.

A connection that was closed while the loop still watched its socket made the loop abort the whole process.
"""

import secrets
import subprocess
import sys

from tests.e2e.serving import ROOT

_SECONDS = 4


def test_thousands_who_leave_at_any_moment_leave_a_living_process(database_url: str) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"ANJUAN_SEED={seed}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.impatient", database_url, str(_SECONDS), str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 500
