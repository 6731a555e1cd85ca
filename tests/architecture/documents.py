"""Documents made from the code: ``python -m tests.architecture.documents`` writes, ``--check`` finds stale ones."""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from grading_engine.policy import shipped
from grading_engine.telling import policy_rules
from intake_api.examples import EXAMPLES
from intake_api.openapi import ACTION_BODIES
from intake_api.problems import CODES
from services import events
from services.permit import RULES
from services.personal import SealedField, fields_of
from services.rules import Rule
from services.settings import SETTINGS

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_MADE = "<!-- made from the code by `make docs` -->\n"


def stored_events() -> str:
    """docs/events.md: every stored event, its clause, its fields, and which of them are sealed."""
    parts = [
        "# Stored events\n",
        _MADE,
        "A stored name stays for ever; so does every field of a schema version that was ever written. "
        "Fields marked 🔒 are sealed before they are written.\n",
        "Any action but `noted` and `corrected` is refused on a void case (`case_void`), any but `responded`, `noted`, "
        "`corrected`, `unlinked` on a merged one (`case_merged`), and a late one where a step recorded for later could "
        "then not have been taken (`contradicts_later_action`).\n",
    ]
    for name, kind in events.KINDS.items():
        sealed = {path: what for path, what in _sealed(fields_of(kind)) if what != "staff"}
        parts.append(f"## `{name}` · schema {kind.schema}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n")
        parts.append("| field | type |\n| --- | --- |")
        for field in msgspec.structs.fields(kind):
            lock = " 🔒" if any(path.split(".")[0] == field.name for path in sealed) else ""
            parts.append(f"| `{field.name}`{lock} | `{_type(field.type)}` |")
        if sealed:
            parts.append("\nSealed: " + ", ".join(f"`{path}` ({what})" for path, what in sealed.items()) + ".")
        parts += _asked_for(name)
        parts.append("")
    return "\n".join(parts)


def _asked_for(name: str) -> list[str]:
    """The rules that can refuse the action, and an example of asking for it."""
    if name not in events.ACTIONS:
        return []
    rows = [f"- `{rule.code}` ({rule.clause or 'house rule'}): {rule.value.zh}" for rule in RULES.get(name, ())]
    rules = ["\nRefused by:\n", *rows] if rows else ["\nRefused by no rule of its own."]
    bodies = [body for body in ACTION_BODIES if body.model_fields["type"].annotation.__args__[0] == name]
    shown = [json.dumps(EXAMPLES[body.__name__], ensure_ascii=False) for body in bodies]
    return [*rules, *(f"\n```json\n{example}\n```" for example in shown)]


def _sealed(fields: tuple[SealedField, ...], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field in fields:
        path = prefix + field.path
        if field.inner:
            found += _sealed(field.inner, f"{path}.*." if field.many else prefix)
        else:
            found.append((path, field.kind))
    return found


def _type(described: Any) -> str:
    text = described.__name__ if isinstance(described, type) else str(described)
    text = re.sub(r"typing\.Annotated\[(\w+), [^\]]*?\)\]", r"\1", text)
    return re.sub(r"\b(?:services\.events|typing|datetime|uuid)\.", "", text).replace("|", "or")


def problems() -> str:
    """docs/problems.md: every code that a client can meet."""
    clauses = {rule.code: rule.clause for rule in Rule}
    rows = [
        f"| `{code}` | {known.status} | {clauses.get(code) or ''} | {known.zh} | {known.en} |"
        for code, known in CODES.items()
    ]
    return "\n".join(
        [
            "# Problems\n",
            _MADE,
            "Every refusal is `application/problem+json` (RFC 9457). The same list is served at `/v1/problems`.\n",
            "| code | status | clause | 中文 | English |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def settings() -> str:
    """docs/settings.md: every variable."""
    rows = [
        f"| `{s.name}` | {f'`{s.default}`' if s.default else ''} | {s.meaning}{' (secret)' if s.secret else ''} |"
        for s in SETTINGS
    ]
    head = "Read from the environment; a secret also from the file that `…_FILE` names. `anjuan settings` lists them.\n"
    return "\n".join(
        ["# Settings\n", _MADE, head, "| variable | default | meaning |", "| --- | --- | --- |", *rows, ""]
    )


def actions() -> str:
    """docs/actions.md: the actions that can be asked for, with the fields of their bodies."""
    parts = ["# Actions\n", _MADE, "What `POST /v1/cases/{case_id}/actions` takes.\n"]
    for body in ACTION_BODIES:
        kind = body.model_fields["type"].annotation.__args__[0]
        parts.append(f"## `{kind}`\n\n{(body.__doc__ or '').strip()}\n")
        for name, field in body.model_fields.items():
            parts.append(f"- `{name}`{'' if field.is_required() else '?'}")
        parts.append("")
    return "\n".join(parts)


def rules() -> str:
    """docs/rules.md: every rule of the shipped policy document, where it comes from, and the test that pins it."""
    policy = shipped()
    rows = [
        f"| `{rule.name}` | {rule.clause or 'house rule'} | {rule.says} | {rule.source} | {rule.reason} "
        f"| {_pinned_by(rule.name)} |"
        for rule in policy_rules(policy)
    ]
    return "\n".join(
        [
            "# Rules of the policy document\n",
            _MADE,
            f"{policy.labels.zh}, {policy.number} {policy.version}, judges the cases opened from "
            f"{policy.effective_from.isoformat()} on ({policy.effective_from_source}), and those before the first "
            "document. *Stated*: the clause says it; *interpretation*: it leaves it to the reader; *open*: the text in "
            "our hands gives no figure; *house rule*: ours.\n",
            "| rule | clause | says | source | reason | pinned by |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _pinned_by(rule: str) -> str:
    """The test that speaks of the rule most; a rule without one fails the build."""
    spoken = re.compile(rf"[\"'` ]{re.escape(rule)}[\"'` :]")
    counted = {
        file.name: len(spoken.findall(file.read_text("utf-8")))
        for folder in ("unit", "contract")
        for file in sorted((_DOCS.parent / "tests" / folder).glob("test_*.py"))
    }
    best = max(counted, key=counted.__getitem__)
    if not counted[best]:
        raise LookupError(f"no test pins {rule}")
    return f"`{best}`"


DOCUMENTS = {
    "rules.md": rules,
    "events.md": stored_events,
    "problems.md": problems,
    "settings.md": settings,
    "actions.md": actions,
}


def stale() -> list[str]:
    """The documents that are not what the code says."""
    return [
        name
        for name, make in DOCUMENTS.items()
        if not (_DOCS / name).exists() or (_DOCS / name).read_text("utf-8") != make()
    ]


def main() -> int:
    """Write, or with ``--check`` only compare."""
    if "--check" in sys.argv:
        found = stale()
        for name in found:
            print(f"docs/{name} is stale: run make docs", file=sys.stderr)
        return 1 if found else 0
    for name, make in DOCUMENTS.items():
        (_DOCS / name).write_text(make(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
