"""What every enumerated value is called on screens and in exports, in Chinese and in English: the one place.

Grades, criteria and duties are named by the documents that judge; everything else is named here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from grading_engine.grades import UNGRADED
from grading_engine.policy import Label, Policy
from services.instants import format_instant

LANGUAGES = ("zh", "en")


def _named(**values: tuple[str, str]) -> dict[str, Label]:
    return {value: Label(zh=zh, en=en) for value, (zh, en) in values.items()}


_OFFICES = {
    "region": ("区域公司", "regional company"),
    "obtaining_unit": ("获取投诉的单位", "unit that obtained the complaint"),
    "regional_customer_relations_executive": ("区域客户关系主管负责人", "regional customer relations executive"),
    "property_services_group": ("物业集团", "property services group"),
    "group": ("集团", "group"),
}

LABELS: Mapping[str, Mapping[str, Label]] = {
    "stage": _named(risk=("风险", "risk"), warning=("预警", "warning"), complaint=("投诉", "complaint")),
    "status": _named(
        open=("待响应", "open"),
        responded=("已响应", "responded"),
        planned=("方案已批", "plan approved"),
        closed=("已完结", "closed"),
        accounted=("已问责", "accounted for"),
        merged=("已合并", "merged"),
        void=("已作废", "void"),
    ),
    "category": _named(
        engineering=("工程", "engineering"),
        planning_design=("规划设计", "planning and design"),
        marketing=("营销", "marketing"),
        customer_service=("客户服务", "customer service"),
        property_service=("物业服务", "property service"),
    ),
    "channel": _named(
        hotline=("热线", "hotline"),
        app=("手机应用", "app"),
        wechat=("微信", "WeChat"),
        visit=("来访", "visit"),
        letter=("来信", "letter"),
        email=("电子邮件", "email"),
        media=("媒体", "media"),
        government=("政府部门", "government"),
        other=("其他", "other"),
    ),
    "outcome": _named(
        no_answer=("无人接听", "no answer"),
        busy=("占线", "busy"),
        refused=("拒接", "refused"),
        wrong_number=("号码有误", "wrong number"),
        no_contact_details=("无联系方式", "no contact details"),
    ),
    "escalation_level": _named(
        none=("未升级", "none"),
        city=("城市", "city"),
        area=("片区", "area"),
        region=("区域", "region"),
        group=("集团", "group"),
    ),
    "action": _named(
        risk_identified=("识别风险", "risk identified"),
        warned=("异动预警", "warned"),
        received=("接到投诉", "received"),
        chased=("催办", "chased"),
        contact_attempted=("尝试联系", "contact attempted"),
        responded=("响应", "responded"),
        assessed=("评估", "assessed"),
        escalated=("升级", "escalated"),
        emergency_started=("启动突发应急小组", "emergency started"),
        plan_proposed=("提出处理方案", "plan proposed"),
        plan_approved=("审批处理方案", "plan approved"),
        plan_answered=("业主答复方案", "plan answered"),
        closed=("完结", "closed"),
        reopened=("重启", "reopened"),
        blamed=("问责", "held accountable"),
        sanctioned=("追责", "sanctioned"),
        lesson_recorded=("案例沉淀", "lesson recorded"),
        lesson_applied=("案例应用", "lesson applied"),
        linked=("关联", "linked"),
        unlinked=("取消关联", "unlinked"),
        noted=("备注", "noted"),
        corrected=("更正", "corrected"),
    ),
    "duty": _named(
        respond=("响应", "respond"),
        report_emergency=("上报并启动突发应急机制", "report and start the emergency mechanism"),
        hold_accountable=("问责", "hold accountable"),
        record_lesson=("案例沉淀", "record the lesson"),
    ),
    "duty_state": _named(
        pending=("待履行", "pending"),
        met=("按时履行", "met"),
        overdue=("逾期未履行", "overdue"),
        met_late=("逾期履行", "met late"),
        void=("已失效", "void"),
    ),
    "grade": {UNGRADED: Label(zh="未定级", en="ungraded")},
    "verdict": _named(met=("成立", "met"), not_met=("不成立", "not met"), undetermined=("尚不能判定", "undetermined")),
    "source": _named(
        stated=("原文规定", "stated"),
        interpretation=("解释", "interpretation"),
        open=("原文未定", "left open"),
        house_rule=("内部规则", "house rule"),
    ),
    "fact": _named(
        compensation=("客户补偿", "compensation"),
        upgrade_cost=("改造提升费用", "upgrade cost"),
        economic_loss=("经济损失", "economic loss"),
        casualties=("人员伤亡", "casualties"),
        injured=("受伤人数", "injured"),
        dead=("死亡人数", "dead"),
        complaining_households=("投诉户数", "complaining households"),
        litigating_households=("诉讼户数", "litigating households"),
        batch_handover_delayed=("集中交付延期", "batch handover delayed"),
        title_deed_delayed=("产权办理延期", "title deed delayed"),
        group_milestone_delayed=("集团考核节点延后", "group milestone delayed"),
        annual_target_lowered=("年度经营目标下调", "annual target lowered"),
    ),
    "compensation_form": _named(
        cash=("现金", "cash"),
        voucher=("代金券", "voucher"),
        goods=("实物", "goods"),
        fee_waiver=("费用减免", "fee waiver"),
        other=("其他", "other"),
    ),
    "link_kind": _named(
        merged_into=("合并至", "merged into"),
        merged_from=("并入的案卷", "merged from"),
        related=("相关", "related"),
        recurrence_of=("复发", "recurrence of"),
    ),
    "emergency_function": _named(
        customer_relations=("客户关系", "customer relations"),
        media_relations=("媒体关系", "media relations"),
        marketing=("营销", "marketing"),
        legal=("法务", "legal"),
        development=("开发", "development"),
    ),
    "closure_criterion": _named(
        plan_approved=("处理方案已审批", "plan approved"),
        accepting_households=("接受方案的户数占比", "share of accepting households"),
        recurrence_expected=("大规模重复爆发", "mass recurrence expected"),
        complaints_answered=("投诉均已响应", "complaints answered"),
    ),
    "office": _named(**_OFFICES),
    "responsible_role": _named(
        project_general_manager=("项目总经理", "project general manager"),
        city_general_manager=("城市总经理", "city general manager"),
        area_general_manager=("片区总经理", "area general manager"),
        regional_president=("区域总裁", "regional president"),
    ),
    "role": _named(
        agent=("坐席", "agent"),
        manager=("经理", "manager"),
        dashboard=("看板", "dashboard"),
        auditor=("审计", "auditor"),
        admin=("管理员", "administrator"),
    ),
    "unit": _named(
        region=("区域公司", "regional company"),
        property_services=("物业集团", "property services"),
        group=("集团", "group"),
    ),
    "rebuild_state": _named(empty=("空", "empty"), building=("重建中", "building"), cancelled=("已取消", "cancelled")),
    "job_state": _named(running=("进行中", "running"), done=("已完成", "done"), failed=("失败", "failed")),
    "basis": _named(opened=("立卷时间", "opened"), due=("履行时限", "due"), recorded=("录入时间", "recorded")),
    "look_outcome": _named(
        shown=("已出示", "shown"),
        unchanged=("未变", "unchanged"),
        refused=("已拒绝", "refused"),
    ),
    "finding": _named(
        late_proof=("逾期后补录", "late proof"),
        facts_lowered=("下调事实", "facts lowered"),
        closed_and_reopened=("完结又重启", "closed and reopened"),
        corrected_for_others=("代他人更正", "corrected for others"),
        one_hand=("一人经手", "one hand"),
        claimed_before_recorded=("响应早于投诉录入", "claimed before recorded"),
        closed_in_hindsight=("事后不合完结条件", "closed in hindsight"),
    ),
    "finding_reason": _named(
        recorded_shortly_after=("时限刚过即补录", "recorded shortly after the deadline"),
        redated=("改为时限之前", "dated back before the deadline"),
        no_longer_key=("不再是重点事件", "no longer a key event"),
        duty_fell_away=("义务因此消失", "a duty fell away"),
        shortly_before_due=("时限将至", "shortly before it was due"),
        reopened_at_once=("完结后即重启", "reopened at once"),
        reopened_again=("多次重启", "reopened again"),
        fewer_late_duties=("逾期减少", "fewer late duties"),
        lesser_facts=("事实减轻", "lesser facts"),
        fewer_complaints=("投诉减少", "fewer complaints"),
        fewer_inconsistencies=("矛盾减少", "fewer inconsistencies"),
    ),
    "tampering": _named(
        altered=("被改动", "altered"), unreadable=("无法读取", "unreadable"), missing=("缺失", "missing")
    ),
    "time_unit": _named(
        minutes=("分钟", "minutes"),
        hours=("小时", "hours"),
        days=("天", "days"),
        working_days=("工作日", "working days"),
    ),
    "calendar": _named(
        round_the_clock=("全天候", "round the clock"),
        working_days_of_china=("中国工作日", "working days of China"),
    ),
}


def text(enumeration: str, value: str, language: str) -> str:
    """What a value is called; one that nobody named stands for itself."""
    label = LABELS[enumeration].get(value)
    return _said(label, language) if label else value


def duty_text(policies: Iterable[Policy], duty: str, language: str) -> str:
    """What a duty is called, by the latest document that names it."""
    label = _duties(policies).get(duty)
    return _said(label, language) if label else duty


def all_labels(policies: Iterable[Policy]) -> dict[str, Any]:
    """Every enumeration with its values, in both languages; and what each version of the policy names."""
    known = sorted(policies, key=lambda policy: policy.effective_from)
    grades = {grade.code: grade.label for policy in known for grade in policy.grades}
    named = {**LABELS, "grade": {**grades, **LABELS["grade"]}, "duty": _duties(known)}
    return {
        "labels": {name: _shown(values) for name, values in named.items()},
        "policies": [_policy(policy) for policy in known],
    }


def _duties(policies: Iterable[Policy]) -> dict[str, Label]:
    known = sorted(policies, key=lambda policy: policy.effective_from)
    said = {duty.duty: duty.label for policy in known for duty in policy.duties if duty.label}
    return {**LABELS["duty"], **said}


def _policy(policy: Policy) -> dict[str, Any]:
    criteria = {
        criterion.id: criterion.label for grade in policy.grades for criterion in grade.criteria if criterion.label
    }
    return {
        "number": policy.number,
        "version": policy.version,
        "effective_from": format_instant(policy.effective_from),
        "label": policy.labels.model_dump(),
        "grades": _shown({grade.code: grade.label for grade in policy.grades}),
        "criteria": _shown(criteria),
        "duties": _shown({duty.duty: duty.label for duty in policy.duties if duty.label}),
    }


def _shown(values: Mapping[str, Label]) -> dict[str, dict[str, str]]:
    return {value: {"zh": label.zh, "en": label.en} for value, label in values.items()}


def _said(label: Label, language: str) -> str:
    return label.zh if language == "zh" else label.en
