"""A replay as one page for people: no scripts, nothing from outside, everything escaped."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import islice
from typing import Any

import msgspec

from projections.export_columns import Cell, Reader
from projections.labels import text
from projections.replay import Question
from projections.replay_answer import summed
from projections.replay_columns import COLUMNS, rows
from projections.replay_kept import BREACHES, CASES, DIFFERENCES, FINDINGS, TAMPERED, Kept
from projections.rows import month_of
from projections.spreadsheets import beijing
from services.event_log import Head

# Lines of a table; all of them are in the other formats.
_LISTED = 300
_WIDTH, _BAR, _LEFT = 640, 18, 190
_RED, _AMBER, _BLUE = "#b3261e", "#c77700", "#2f5d9b"
# Upper bounds of the response times in seconds (4.3: an hour is in time).
_SPANS = ((900, "≤ 15 min"), (1800, "≤ 30 min"), (3600, "≤ 1 h"), (7200, "≤ 2 h"), (86400, "≤ 24 h"))

Bar = tuple[str, Sequence[int]]

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("审计回放", "Audit replay"),
    "region": ("区域", "Region"),
    "project": ("项目", "Project"),
    "group": ("全集团", "the whole group"),
    "period": ("期间", "Period"),
    "basis": ("依据", "Basis"),
    "as_of": ("截至时点", "As of"),
    "known_at": ("所知时点", "Known at"),
    "policy": ("判定制度", "Judged by"),
    "in_force": ("当时有效的制度", "the documents in force"),
    "position": ("账本位置", "Ledger position"),
    "digest": ("摘要", "Digest"),
    "cases": ("案卷", "Cases"),
    "complaints": ("投诉", "Complaints"),
    "breached": ("逾期案卷", "Breached cases"),
    "breaches": ("逾期", "Breaches"),
    "findings": ("审计发现", "Findings"),
    "differences": ("与视图不符", "Differences from the views"),
    "unexplained": ("无从解释", "Unexplained"),
    "tampered": ("记录异常", "Records tampered with"),
    "by_month": ("各月逾期(按时限)", "Breaches by month due"),
    "response": ("响应用时", "Time to respond"),
    "grades": ("定级", "Grades"),
    "by_kind": ("各类审计发现", "Findings by kind"),
    "later": ("> 24 小时", "> 24 h"),
    "unanswered": ("未响应", "unanswered"),
    "more": ("另有 {} 项, 见其他格式", "{} more: see the other formats"),
    "none": ("无", "none"),
}
_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans SC",sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;color:#1b1b1b}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #e3e3e3}
th{background:#eef2f8}.wide{overflow-x:auto}code{font-size:12px;word-break:break-all}
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-weight:600;margin:.6rem 0}
.bad{color:#b3261e;font-weight:600}
"""


def report(kept: Kept, question: Question, head: Head, reader: Reader) -> Iterator[bytes]:
    """The page, piece by piece."""
    for piece in _page(kept, question, head, reader):
        yield piece.encode("utf-8", "replace")


def _page(kept: Kept, question: Question, head: Head, reader: Reader) -> Iterator[str]:
    told = summed(kept, question, head.epoch)
    totals, say = told["totals"], _Words(reader.language)
    language = "zh-CN" if reader.language == "zh" else "en"
    yield f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{say("title")}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{say('title')}</h1>"
    yield _pairs(_asked(told, say, reader))
    yield _pairs([(say(name), _count(totals[name])) for name in ("cases", "complaints", "breached")])
    for name in ("differences", "unexplained", "tampered"):
        style = ' class="bad"' if totals[name] and name != "differences" else ""
        yield f"<p{style}>{say(name)}: {totals[name]}</p>"
    yield f'<div class="plots">{"".join(_plots(kept, totals, say, reader))}</div>'
    yield _regions(totals["regions"], say)
    for kind, name in ((TAMPERED, "tampered"), (DIFFERENCES, "differences"), (FINDINGS, "findings")):
        yield from _table(kept, kind, name, say, reader)
    yield from _table(kept, BREACHES, "breaches", say, reader)
    yield "</body></html>\n"


class _Words:
    """What is said in the reader's language, escaped."""

    def __init__(self, language: str) -> None:
        self._place = 0 if language == "zh" else 1

    def __call__(self, name: str, *figures: object) -> str:
        return escape(_WORDS[name][self._place].format(*figures))


def _asked(told: Mapping[str, Any], say: _Words, reader: Reader) -> list[tuple[str, str]]:
    policy = told["policy"]
    judged_by = escape(f"{policy['number']} {policy['version']}") if policy else say("in_force")
    where = told["project"] or told["region"]
    return [
        (say("project" if told["project"] else "region"), escape(where) if where else say("group")),
        (say("period"), f"{_clock(told['from'])} – {_clock(told['to'])}"),
        (say("basis"), escape(text("basis", told["basis"], reader.language))),
        (say("as_of"), _clock(told["as_of"])),
        (say("known_at"), _clock(told["known_at"])),
        (say("policy"), judged_by),
        (say("position"), str(told["position"])),
        (say("digest"), f"<code>{told['digest']}</code>"),
    ]


def _clock(instant: datetime | None) -> str:
    return beijing(instant).isoformat(sep=" ") + " +08:00" if instant else "…"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><th>{name}</th><td>{value}</td></tr>' for name, value in pairs)}</table>"


def _count(count: Any) -> str:
    return str(sum(count.values()) if isinstance(count, dict) else count)


# Plots ------------------------------------------------------------------------------------------------------------


def _plots(kept: Kept, totals: Mapping[str, Any], say: _Words, reader: Reader) -> Iterator[str]:
    late = [escape(text("duty_state", state, reader.language)) for state in ("overdue", "met_late")]
    yield _plot(say("by_month"), _by_month(kept), list(zip(late, (_RED, _AMBER), strict=True)))
    yield _plot(say("response"), _response_times(kept, say), [("", _BLUE)])
    grades = totals["grades"]
    yield _plot(say("grades"), [(text("grade", c, reader.language), [n]) for c, n in grades.items()], [("", _BLUE)])
    found = [(text("finding", kind, reader.language), [n]) for kind, n in totals["findings"].items()]
    yield _plot(say("by_kind"), found, [("", _RED)])


def _by_month(kept: Kept) -> list[Bar]:
    counted: Counter[tuple[str, str]] = Counter()
    for item in kept.items(BREACHES):
        breach = msgspec.json.decode(item)
        counted[month_of(datetime.fromisoformat(breach["due_at"])), breach["state"]] += 1
    months = sorted({month for month, _ in counted})
    return [(month, [counted[month, "overdue"], counted[month, "met_late"]]) for month in months]


def _response_times(kept: Kept, say: _Words) -> list[Bar]:
    counted: Counter[str] = Counter()
    for item in kept.items(CASES):
        for duty in msgspec.json.decode(item)["duties"]:
            if duty["duty"] == "respond" and duty["state"] != "void":
                counted[_span(duty, say)] += 1
    names = [*(name for _, name in _SPANS), say("later"), say("unanswered")]
    return [(name, [counted[name]]) for name in names]


def _span(duty: Mapping[str, Any], say: _Words) -> str:
    if duty["met_at"] is None:
        return say("unanswered")
    took = datetime.fromisoformat(duty["met_at"]) - datetime.fromisoformat(duty["started_at"])
    return next((name for bound, name in _SPANS if took.total_seconds() <= bound), say("later"))


def _plot(caption: str, bars: Sequence[Bar], parts: Sequence[tuple[str, str]]) -> str:
    """Horizontal bars, each of one or more parts with their colours; the figure at its end."""
    most = max((sum(values) for _, values in bars), default=0) or 1
    height = _BAR * len(bars) + 4
    drawn = "".join(_bar(number, bar, most, parts) for number, bar in enumerate(bars))
    legend = " ".join(f'<span style="color:{colour}">■</span> {name}' for name, colour in parts if name)
    return (
        f'<figure><figcaption>{caption}</figcaption>{legend}<svg role="img" aria-label="{caption}" width="{_WIDTH}"'
        f' height="{height}" viewBox="0 0 {_WIDTH} {height}" font-size="12">{drawn}</svg></figure>'
    )


def _bar(number: int, bar: Bar, most: int, parts: Sequence[tuple[str, str]]) -> str:
    name, values = bar
    y, x = number * _BAR + 2, float(_LEFT)
    drawn = [f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>']
    for value, (_, colour) in zip(values, parts, strict=True):
        width = (_WIDTH - _LEFT - 70) * value / most
        drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR - 5}" fill="{colour}"/>')
        x += width
    return "".join([*drawn, f'<text x="{x + 6:.1f}" y="{y + 12}">{sum(values)}</text>'])


# Tables -----------------------------------------------------------------------------------------------------------


def _regions(regions: Sequence[Mapping[str, Any]], say: _Words) -> str:
    names = ("cases", "complaints", "breached", "breaches", "findings")
    head = "".join(f"<th>{say(name)}</th>" for name in ("region", *names))
    body = "".join(_row([one["region"], *(one[name] for name in names)]) for one in regions)
    return f"<h2>{say('region')}</h2><table><tr>{head}</tr>{body}</table>"


def _table(kept: Kept, kind: bytes, name: str, say: _Words, reader: Reader) -> Iterator[str]:
    """The first items of a kind, and how many there are beyond them."""
    columns = COLUMNS[kind]
    yield f"<h2>{say(name)}</h2>"
    total = sum(1 for _ in kept.items(kind))
    if not total:
        yield f"<p>{say('none')}</p>"
        return
    head = "".join(f"<th>{escape(column.heading(reader.language))}</th>" for column in columns)
    yield f'<div class="wide"><table><tr>{head}</tr>'
    for item in islice(kept.items(kind), _LISTED):
        for row in rows(kind, msgspec.json.decode(item)):
            yield _row([column.cell(row, reader) for column in columns])
    yield "</table></div>"
    if total > _LISTED:
        yield f"<p>{say('more', total - _LISTED)}</p>"


def _row(cells: Sequence[Cell]) -> str:
    return f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>"


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return beijing(cell).isoformat(sep=" ") if isinstance(cell, datetime) else escape(str(cell))
