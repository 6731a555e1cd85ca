"""`python -m tests.bench [PART …]`: tables for people, and one line of JSON at the end for machines."""

import json
import platform
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.bench.measuring import Contender, Report, Spread

_PARTS = ("appends", "http", "long_cases", "policy", "replaying", "views")
# Only when asked for: it needs a commit to be compared with.
_ASKED = ("against",)


def main() -> None:
    asked = sys.argv[1:] or list(_PARTS)
    if unknown := [part for part in asked if part not in _PARTS + _ASKED]:
        sys.exit(f"no part {', '.join(unknown)}; there are {', '.join(_PARTS + _ASKED)}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    reports = {part: _measure(part)() for part in asked}
    for report in reports.values():
        _show(report, console)
    plain = {part: report.plain() for part, report in reports.items()}
    print(json.dumps({"python": platform.python_version(), **plain}, ensure_ascii=False))


def _measure(part: str) -> Callable[[], Report]:
    # Each part imports what it drives: one can be run without the other's packages.
    if part == "against":
        from tests.bench.against import measure
    elif part == "appends":
        from tests.bench.appends import measure
    elif part == "long_cases":
        from tests.bench.long_cases import measure
    elif part == "policy":
        from tests.bench.policy import measure
    elif part == "replaying":
        from tests.bench.replaying import measure
    elif part == "views":
        from tests.bench.views import measure
    else:
        from tests.bench.http import measure
    return measure


def _show(report: Report, console: Console) -> None:
    table = Table(title=report.title, title_justify="left")
    table.add_column("median (lowest – highest)")
    for name in (f"{report.unit}s/s", "p50 ms", "p99 ms", "client µs", "server µs", "database µs"):
        table.add_column(name, justify="right")
    for contender in report.contenders:
        table.add_row(contender.name, _spread(contender.per_second(), 0), *_latency(contender), *_cpu(contender))
    ratios = Table("ratio", "median (lowest – highest)", "target")
    for ratio in report.ratios:
        verdict = "" if ratio.target is None else f"≥ {ratio.target:g} {'reached' if ratio.reached else 'MISSED'}"
        ratios.add_row(ratio.name, _spread(ratio.spread, 2), verdict)
    console.print(table, ratios, *(f"[dim]{note}[/dim]" for note in report.notes), sep="\n")


def _spread(spread: Spread, places: int) -> str:
    return f"{spread.median:.{places}f} ({spread.lowest:.{places}f} – {spread.highest:.{places}f})"


def _latency(contender: Contender) -> list[str]:
    if not any(slot.latencies for slot in contender.slots):
        return ["", ""]
    return [f"{contender.milliseconds(percentile):.1f}" for percentile in (50, 99)]


def _cpu(contender: Contender) -> list[str]:
    shown = []
    for name in ("client_cpu", "server_cpu", "database_cpu"):
        used = any(getattr(slot, name) for slot in contender.slots)
        shown.append(_spread(contender.micros(name), 0) if used else "")
    return shown


if __name__ == "__main__":
    main()
