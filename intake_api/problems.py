"""Every refusal as ``application/problem+json`` (RFC 9457), in Chinese or English, with a stable machine code.

This is the one place where errors become answers. No exception text ever reaches a caller.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import msgspec

from intake_api.access import Forbidden, Unauthenticated
from intake_api.http import (
    UNKEPT,
    Call,
    LedgerRestored,
    NotFound,
    Reply,
    TooLarge,
    UnknownParameter,
    UnsupportedMediaType,
)
from intake_api.polled import ProjectionBehind
from intake_api.rates import TooMany
from projections.checkpoint import Unfilled
from services.batch import NoSuchCase, OpenedTwice
from services.desk import DuplicateReference, KeyReused, NotYours, StillRunning, VersionMismatch
from services.event_log import Overloaded, Unavailable
from services.event_log.tree import BrokenTree
from services.rules import Fault, Malformed, Refusal, Rule
from services.tree_heads import Forked

CONTENT_TYPE = b"application/problem+json"


class Code(NamedTuple):
    """One published code."""

    status: int
    zh: str
    en: str


CODES: Mapping[str, Code] = {
    "unauthenticated": Code(401, "令牌缺失或无效", "The token is missing or not valid"),
    "forbidden": Code(403, "该角色无权执行此操作", "The role may not do this"),
    "not_found": Code(404, "未找到", "Not found"),
    "method_not_allowed": Code(405, "不支持该方法", "Method not allowed"),
    "malformed_request": Code(400, "不是有效的 HTTP 请求", "This is no valid HTTP request"),
    "request_too_slow": Code(408, "请求发送过慢", "The request came too slowly"),
    "headers_too_large": Code(431, "请求头过大", "The headers are too large"),
    "rate_exceeded": Code(429, "请求过于频繁, 请稍后重试", "Too many requests: try again later"),
    "body_too_large": Code(413, "请求体过大", "The body is too large"),
    "unsupported_media_type": Code(415, "请求体须为 application/json", "The body must be application/json"),
    "idempotency_key_required": Code(400, "缺少 Idempotency-Key", "An Idempotency-Key is required"),
    "idempotency_key_malformed": Code(
        400, "Idempotency-Key 须为 1–255 个可见字符", "The Idempotency-Key must be 1–255 visible characters"
    ),
    "idempotency_key_reused": Code(
        422, "该 Idempotency-Key 已用于另一请求", "The Idempotency-Key was used for another request"
    ),
    "idempotency_key_in_progress": Code(
        409, "同一 Idempotency-Key 的首个请求仍在处理", "The first request with this key is still running"
    ),
    "if_match_malformed": Code(400, "If-Match 无法识别", "If-Match is not an entity tag of this service"),
    "version_mismatch": Code(412, "案卷已有更新的版本", "The case is at another version"),
    "duplicate_external_ref": Code(409, "该外部编号已有案卷", "The external reference belongs to another case"),
    "malformed_json": Code(422, "请求体不是有效的 JSON", "The body is not valid JSON"),
    "validation_failed": Code(422, "请求内容不符合要求", "The request does not have the right shape"),
    "contact_person_required": Code(422, "响应须告知投诉对接人", "A response names who follows up from now on"),
    "in_the_future": Code(422, "时间晚于当前时间", "The time lies in the future"),
    "unknown_project": Code(422, "项目不存在", "There is no such project"),
    "unknown_region": Code(422, "区域不存在", "There is no such region"),
    "region_differs": Code(422, "项目不属于该区域", "The project is not in that region"),
    "region_is_fixed": Code(422, "项目所属区域不可更改", "A project's region cannot change"),
    "correction_not_yours": Code(
        403, "坐席仅可在 24 小时内更正本人录入且未完结的案卷", "An agent corrects its own, within 24 h, on an open case"
    ),
    "ambiguous_external_ref": Code(409, "该外部编号对应多个区域的案卷", "The reference stands for several cases"),
    "unsound_policy": Code(422, "制度文件不健全", "The policy document is not sound"),
    "policy_version_taken": Code(422, "该版本已发布", "This version is published already"),
    "effective_too_early": Code(422, "生效时间早于发布时间", "It would take effect before it is published"),
    "effective_taken": Code(422, "同一时刻已有版本生效", "Another version takes effect at that instant"),
    "unknown_case": Code(422, "案卷不存在或属于其他区域", "There is no such case in this region"),
    "unknown_action": Code(422, "案卷中没有该动作", "The case has no such action"),
    "unknown_plan": Code(422, "本轮没有该处理方案", "No such plan was proposed in this cycle"),
    "unknown_lesson": Code(422, "案卷中没有该经验教训", "The case has no such lesson"),
    "unknown_complaint": Code(422, "案卷中没有该投诉", "The case has no such complaint"),
    "reason_names_person": Code(
        422, "理由不得包含该投诉人的姓名或电话", "The reason must not name who is to be forgotten"
    ),
    "unknown_household": Code(422, "案卷中没有该户的投诉", "No complaint of that household in the case"),
    "unknown_parameter": Code(422, "未知的查询参数", "Unknown query parameter"),
    "invalid_parameter": Code(422, "查询参数的值无效", "The value of a query parameter is not valid"),
    "last_event_id_malformed": Code(400, "Last-Event-ID 无法识别", "The Last-Event-ID is not a position"),
    "ledger_restored": Code(
        409, "该位置已不在账本中, 账本曾由备份恢复", "The ledger was restored: that position is no longer in it"
    ),
    "ledger_forked": Code(
        503,
        "账本与已签署的树头不一致; 若曾由备份恢复, 请运行 anjuan restored",
        "The ledger is not the one whose heads were signed; if a backup was restored, run anjuan restored",
    ),
    "overloaded": Code(503, "当前请求过多, 请稍后重试", "Too much at once: try again shortly"),
    "projection_behind": Code(
        503, "列表尚未更新到所求位置, 请稍后重试", "The lists have not come to that position yet: try again shortly"
    ),
    "rebuild_running": Code(409, "正在重建", "A rebuild is running already"),
    "projections_not_ready": Code(503, "列表不可用或不是最新", "The lists are not fit to work with"),
    "unavailable": Code(
        503, "暂时无法确认结果, 请以同一 Idempotency-Key 重试", "No answer in time: the same key tells the outcome"
    ),
    "internal_error": Code(500, "服务内部错误", "Internal error"),
    **{rule.code: Code(409, rule.value.zh, rule.value.en) for rule in Rule},
}

# What a fault in one field is called; {0} is the bound or the choices, never what the client wrote.
_FAULTS: Mapping[str, tuple[str, str]] = {
    "missing": ("必填", "required"),
    "extra_forbidden": ("未知字段", "unknown field"),
    "unknown_type": ("未知的动作类型", "unknown type of action"),
    "doubled_key": ("键重复: {0}", "doubled key: {0}"),
    "not_a_number": ("不允许 NaN 或 Infinity", "NaN and Infinity are refused"),
    "json_malformed": ("不是有效的 UTF-8 JSON", "not valid JSON in UTF-8"),
    "nul": ("不允许 NUL 字符", "NUL is refused"),
    "lone_surrogate": ("不允许孤立的代理码位", "a lone surrogate is refused"),
    "too_deep": ("嵌套过深", "nested too deeply"),
    "instant_malformed": ("须为 RFC 3339 日期时间", "not an RFC 3339 date and time"),
    "instant_without_offset": ("时间缺少时区偏移", "the offset from UTC is missing"),
    "instant_too_fine": ("秒的小数超过 6 位", "more than 6 fractional digits"),
    "in_the_future": ("晚于服务器时间 5 分钟以上", "more than 5 minutes ahead of the server"),
    "differs_from_own_time": ("occurred_at 与 {0} 不一致", "occurred_at differs from {0}"),
    "complaints_or_households": (
        "complaints 与 households 须且只能给出其一",
        "give either complaints or households",
    ),
    "not_at_this_stage": ("仅投诉阶段可用", "only at stage complaint"),
    "uuid_malformed": ("须为 UUID", "not a UUID"),
    "phone_malformed": ("不是电话号码", "not a telephone number"),
    "money_malformed": ("须为最多两位小数的十进制字符串", "not a decimal string with up to 2 places"),
    "literal_error": ("须为 {0} 之一", "must be one of {0}"),
    "string_type": ("须为字符串", "must be text"),
    "string_too_long": ("超过 {0} 个字符", "more than {0} characters"),
    "string_pattern_mismatch": ("格式不符", "not of the right form"),
    "share_malformed": ("须为 0–100 的十进制数", "must be a decimal above 0, 100 at most"),
    "shares_not_100": ("责任比例合计须恰为 100, 现为 {0}", "the shares must make exactly 100, not {0}"),
    "facts_needed": ("至少给出一项事实", "name at least one fact"),
    "ends_before_it_begins": ("早于 from", "before from"),
    "unknown_policy_version": ("没有该版本的制度", "no such version is published"),
    "responsible_or_no_fault": (
        "responsible 与 no_fault 须且只能给出其一",
        "give either responsible or no_fault",
    ),
    "replacement_or_retract": (
        "replacement 与 retract 须且只能给出其一",
        "give either replacement or retract",
    ),
    "corrects_a_correction": (
        "更正之更正只能撤回, 再更正原动作",
        "a correction of a correction can only be retracted; then correct the action itself",
    ),
    "not_correctable": ("该字段不可更正", "this field cannot be corrected"),
    "number_malformed": ("须为非负整数或十进制字符串", "must be a whole number or a decimal string, 0 or more"),
    "clause_missing": ("缺少条款号", "the clause is missing"),
    "reason_missing": ("非原文明示, 须说明理由", "what the clause does not state needs a reason"),
    "bound_open": ("须给出数值, 或标明 open", "give a value, or say that it is open"),
    "condition_malformed": ("须为 any、all 或带界限的 fact", "must be any, all, or a fact with its bounds"),
    "share_missing": (
        "仅 accepting_households 须给出 more_than",
        "accepting_households, and nothing else, has a share",
    ),
    "named_twice": ("名称重复: {0}", "named twice: {0}"),
    "name_of_a_fact": ("与事实同名: {0}", "named like a fact: {0}"),
    "unknown_fact": ("未知的事实: {0}", "unknown fact: {0}"),
    "bound_needed": ("须给出界限", "a bound is needed"),
    "bound_on_a_flag": ("是非类事实没有界限", "a flag has no bound"),
    "nothing_between_the_bounds": ("上下限之间没有取值", "there is nothing between the bounds"),
    "unreachable": ("该等级永远不会成立: {0}", "this level is never reached: {0}"),
    "nothing_can_meet_it": ("没有动作能履行该义务: {0}", "nothing can meet it: {0}"),
    "calendar_differs": ("时限单位与日历不符: {0}", "the unit does not fit the calendar: {0}"),
    "timezone_aware": ("时间缺少时区偏移", "the offset from UTC is missing"),
    "open_or_action": (
        "须给出 open, 或 case_id、external_ref 之一与 action",
        "give open, or action with either case_id or external_ref",
    ),
    "int_type": ("须为整数", "must be a whole number"),
    "bool_type": ("须为 true 或 false", "must be true or false"),
    "tuple_type": ("须为数组", "must be a list"),
    "too_long": ("超过 {0} 项", "more than {0} items"),
    "too_short": ("至少 {0} 项", "at least {0} items"),
    "greater_than_equal": ("不得小于 {0}", "must be {0} or more"),
    "less_than_equal": ("不得大于 {0}", "must be {0} or less"),
    "model_type": ("须为对象", "must be an object"),
    "dict_type": ("须为对象", "must be an object"),
    "model_attributes_type": ("须为对象", "must be an object"),
    "unknown_project": CODES["unknown_project"][1:],
    "unknown_region": CODES["unknown_region"][1:],
    "region_differs": CODES["region_differs"][1:],
    "region_is_fixed": CODES["region_is_fixed"][1:],
    "unknown_complaint": CODES["unknown_complaint"][1:],
    "unknown_household": CODES["unknown_household"][1:],
    "unknown_case": CODES["unknown_case"][1:],
    "unknown_action": CODES["unknown_action"][1:],
    "unknown_plan": CODES["unknown_plan"][1:],
    "unknown_lesson": CODES["unknown_lesson"][1:],
}
_OTHERWISE = ("无效", "not valid")


def reply_to(fault: Exception, call: Call) -> Reply:
    """The problem that an exception becomes; what nobody foresaw is 500 without a word of it."""
    match fault:
        case Unauthenticated():
            return problem(call, "unauthenticated", headers=[(b"www-authenticate", _challenge(call))])
        case Forbidden():
            return problem(call, "forbidden")
        case NotYours():
            return problem(call, "correction_not_yours")
        case NotFound() | NoSuchCase():
            return problem(call, "not_found")
        case TooLarge():
            return problem(call, "body_too_large", headers=[(b"connection", b"close")])
        case UnsupportedMediaType():
            return problem(call, "unsupported_media_type")
        case UnknownParameter(code=code, name=name):
            return problem(call, code, errors=[{"parameter": name, "message": _message(call, code, None)}])
        case AmbiguousReference():
            return problem(call, "ambiguous_external_ref")
        case BadHeader(code=code):
            return problem(call, code)
        case Malformed():
            return _malformed(call, fault)
        case Refusal(rule=rule, unmet=unmet):
            more = {"clause": rule.clause, "unmet": [u._asdict() for u in unmet]}
            return problem(call, rule.code, more={k: v for k, v in more.items() if v})
        case VersionMismatch(actual=actual):
            return problem(call, "version_mismatch", more={"version": actual})
        case KeyReused():
            return problem(call, "idempotency_key_reused")
        case StillRunning():
            return problem(call, "idempotency_key_in_progress", headers=[(b"retry-after", b"1")])
        case DuplicateReference(stream=stream):
            return problem(call, "duplicate_external_ref", more={"case_id": str(stream)})
        case OpenedTwice():
            return problem(call, "duplicate_external_ref")
        case TooMany(seconds=seconds):
            return problem(call, "rate_exceeded", headers=[(b"retry-after", b"%d" % ceil(seconds))])
        case Overloaded():
            return problem(call, "overloaded", headers=[(b"retry-after", b"1")])
        case Forked() | BrokenTree():
            return problem(call, "ledger_forked")
        case LedgerRestored():
            return problem(call, "ledger_restored")
        case ProjectionBehind() | Unfilled():
            return problem(call, "projection_behind", headers=[(b"retry-after", b"1")])
        case Unavailable() | TimeoutError():
            return problem(call, "unavailable", headers=[(b"retry-after", b"2")])
        case _:
            return problem(call, "internal_error")


def _challenge(call: Call) -> bytes:
    """RFC 6750, 3: that a token is not valid is only said to who sent one."""
    sent = (call.header(b"authorization") or "").partition(" ")[0].lower() == "bearer"
    return b'Bearer realm="anjuan", error="invalid_token"' if sent else b'Bearer realm="anjuan"'


class AmbiguousReference(Exception):
    """409: an external reference stands for cases of several regions that the caller sees."""


class BadHeader(Exception):
    """400: a header of the conventions is missing or malformed; `code` names which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def problem(
    call: Call,
    code: str,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    errors: Sequence[Mapping[str, object]] = (),
    more: Mapping[str, Any] | None = None,
) -> Reply:
    """One problem document in the caller's language."""
    known = CODES[code]
    title = known.zh if call.language == "zh" else known.en
    document = {
        "type": f"/v1/problems/{code}",
        "title": title,
        "status": known.status,
        "detail": _detail(title, errors),
        "instance": call.path,
        "code": code,
        "errors": list(errors),
        **(more or {}),
    }
    language = b"zh-CN" if call.language == "zh" else b"en"
    return Reply(
        known.status,
        msgspec.json.encode(document),
        [(b"content-language", language), (b"vary", b"Authorization, Accept-Language"), UNKEPT, *headers],
        CONTENT_TYPE,
    )


def _detail(title: str, errors: Sequence[Mapping[str, object]]) -> str:
    """The title, and the first faults with their places."""
    named = [f"{e.get('pointer') or e.get('parameter') or '/'}: {e['message']}" for e in errors[:3]]
    return f"{title}: {'; '.join(named)}" if named else title


def _malformed(call: Call, fault: Malformed) -> Reply:
    errors = [{"pointer": f.pointer, "message": _message(call, f.code, f)} for f in fault.faults]
    more: dict[str, Any] = {"clause": fault.clause} if fault.clause else {}
    if fault.code == "in_the_future":
        more["server_time"] = fault.faults[0].given
    return problem(call, fault.code, errors=errors, more=more)


def _message(call: Call, code: str, fault: Fault | None) -> str:
    texts = _FAULTS.get(code) or (CODES[code][1:] if code in CODES else _OTHERWISE)
    return texts[0 if call.language == "zh" else 1].format((fault.given if fault else None) or "")


def refusal(code: str) -> bytes:
    """The whole answer to what never became a request; nobody knows its language or where it would have gone.

    Its status line is another's: `one_write` has them.
    """
    known = CODES[code]
    fields = {"type": f"/v1/problems/{code}", "title": known.zh, "status": known.status, "detail": known.zh}
    body = msgspec.json.encode({**fields, "instance": "", "code": code, "errors": []})
    head = [
        b"content-type: " + CONTENT_TYPE,
        b"content-language: zh-CN",
        b"content-length: %d" % len(body),
        b": ".join(UNKEPT),
        b"connection: close",
    ]
    return b"\r\n".join([*head, b"", body])


def published() -> list[dict[str, object]]:
    """The list of codes."""
    return [{"code": code, "status": c.status, "zh": c.zh, "en": c.en} for code, c in CODES.items()]
