"""更正. What an action becomes under a merge patch (RFC 7396) of its own fields: pure, texts in clear."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace
from pydantic import TypeAdapter

from services.commands import ACTION, OPENING, Correct, OpenCase
from services.decide import common, make, open_case
from services.events import Action, Becomes, Corrected, Received
from services.instants import format_instant
from services.rules import Fault, Malformed

# Reads a body into a command, or raises `Malformed` with every fault in its place.
Shape = Callable[[TypeAdapter[Any], bytes, Any], Any]

_STAGES = {"risk_identified": "risk", "warned": "warning", "received": "complaint"}
_OWN_TIMES = {"received": "obtained_at", "responded": "contacted_at", "contact_attempted": "attempted_at"}
# What an action is, and where it belongs, is no field of it.
_FIXED = frozenset({"type", "stage", "region", "external_ref"})
_FIXED_IN = {"linked": frozenset({"case", "kind"}), "unlinked": frozenset({"case", "kind"})}
_OF_A_CORRECTION = frozenset({"replacement", "retract", "reason"})


class Target(NamedTuple):
    """The action that a correction names, the root of its chain, and when that was recorded. Texts in clear."""

    action: Action
    root: Action
    recorded_at: datetime


def correct(command: Correct, target: Target, at: datetime, new_id: Callable[[], UUID], shape: Shape) -> Corrected:
    """The correction as it is stored; raises `Malformed` (422) where the patched action would not be sound."""
    about: dict[str, Any] = {"action": target.action.action_id, "root": target.root.action_id, "reason": command.reason}
    said = common(command, command.occurred_at, at, new_id)
    if command.retract:
        return Corrected(retract=True, **about, **said)
    patch = command.replacement or {}
    replaced = tuple(sorted(patch))
    if isinstance(target.action, Corrected):
        _refuse(patch, lambda name: name not in _OF_A_CORRECTION)
        if target.action.action != target.action.root:
            # What it replaced was a correction's own words, which are not kept: it can be retracted, and said anew.
            raise Malformed([Fault("/replacement", "corrects_a_correction")])
        whole = merge_patch(_said(target.action), patch)
        about["reason"] = whole.get("reason") or command.reason
        if whole.get("retract") and whole.get("replacement") is None:
            return Corrected(replaced=replaced, **about, **said)
        patch = whole.get("replacement")
        if whole.get("retract") or not isinstance(patch, dict):
            raise Malformed([Fault("/replacement", "replacement_or_retract")])
    # What the action should have said lies no further ahead than it might have been recorded with.
    becomes = _patched(target, patch, target.recorded_at, shape)
    return Corrected(replaced=replaced, becomes=Becomes.of(becomes), **about, **said)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null takes out, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def body_of(action: Action) -> dict[str, Any]:
    """The action as a client would write it: the body that makes it again."""
    body: dict[str, Any] = msgspec.to_builtins(action)
    for name in ("action_id", "case_no", "complaint_id"):
        body.pop(name, None)
    opening: dict[str, Any] = body.pop("opening", {})
    own = _OWN_TIMES.get(action.name)
    if own:
        body[own] = body.pop("occurred_at")
    if body.pop("everyone", False):
        body["complaints"] = "all"
    kind = {"stage": _STAGES[action.name]} if action.opening else {"type": action.name}
    return {**kind, **opening, **body}


def _said(correction: Corrected) -> dict[str, Any]:
    """A correction as a client would write it."""
    if correction.becomes is None:
        return {"retract": True, "reason": correction.reason}
    body = body_of(correction.becomes.action)
    return {"replacement": {name: body.get(name) for name in correction.replaced}, "reason": correction.reason}


def _patched(target: Target, patch: Mapping[str, Any], at: datetime, shape: Shape) -> Action:
    root = target.root
    fixed = _FIXED | _FIXED_IN.get(root.name, frozenset())
    _refuse(patch, fixed.__contains__)
    body = merge_patch(body_of(root), _at_its_own_time(patch, root.name))
    if root.name not in _OWN_TIMES:
        # Left out is now, and that was when it was recorded.
        body.setdefault("occurred_at", format_instant(target.recorded_at))
    try:
        command = shape(OPENING if root.opening else ACTION, msgspec.json.encode(body), body)
        # A null takes out, and of a name that is no field there would be nothing to see.
        if unknown := [
            Fault(f"/{name}", "extra_forbidden") for name in patch if name not in type(command).model_fields
        ]:
            raise Malformed(unknown)
        made = _made(command, root, at)
    except Malformed as malformed:
        faults = [fault._replace(pointer=f"/replacement{fault.pointer}") for fault in malformed.faults]
        raise Malformed(faults, malformed.code, malformed.clause) from None
    return made


def _made(command: Any, root: Action, at: datetime) -> Action:
    """The new form of the root, which keeps its ids and its case's number."""

    def same() -> UUID:
        return root.action_id

    is_opening = isinstance(command, OpenCase)
    case = None if is_opening else getattr(root, "case", None)
    made = open_case(command, at, same) if is_opening else make(command, at, same, case)
    if root.opening and made.opening:
        made = replace(made, opening=replace(made.opening, external_ref=root.opening.external_ref))
    if isinstance(made, Received) and isinstance(root, Received):
        made = replace(made, complaint_id=root.complaint_id)
    return replace(made, case_no=root.case_no)


def _at_its_own_time(patch: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """On some actions `occurred_at` *is* a time of their own."""
    own = _OWN_TIMES.get(name)
    if own and "occurred_at" in patch and own not in patch:
        return {**{k: v for k, v in patch.items() if k != "occurred_at"}, own: patch["occurred_at"]}
    return patch


def _refuse(patch: Mapping[str, Any], fixed: Callable[[str], bool]) -> None:
    faults = [Fault(f"/replacement/{name}", "not_correctable", name) for name in patch if fixed(name)]
    if faults:
        raise Malformed(faults)
