"""An example of each body that the service takes, for its documents."""

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "OpenCase": {
        "project": "GD-FS-001",
        "category": "engineering",
        "title": "3栋外墙渗水",
        "obtained_at": "2026-11-23T16:05:00+08:00",
        "channel": "hotline",
        "household": "3栋1单元201室",
        "complainant": {"name": "李四", "phone": "13800138000"},
    },
    "Warn": {"type": "warned", "unrest": "业主群内约定周末到售楼处"},
    "Receive": {
        "type": "received",
        "obtained_at": "2026-11-23T16:20:00+08:00",
        "channel": "app",
        "household": "3-1-301",
    },
    "Chase": {"type": "chased", "complaint": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a11", "channel": "hotline"},
    "AttemptContact": {
        "type": "contact_attempted",
        "households": ["3-1-301"],
        "attempted_at": "2026-11-23T16:30:00+08:00",
        "channel": "hotline",
        "outcome": "no_answer",
    },
    "Respond": {
        "type": "responded",
        "complaints": "all",
        "contacted_at": "2026-11-23T16:40:00+08:00",
        "contact_person": {"name": "王五", "title": "客户关系专员", "phone": "0757-22334455"},
    },
    "Assess": {"type": "assessed", "facts": {"compensation": "120000.00", "title_deed_delayed": False}},
    "Escalate": {"type": "escalated", "to": "region", "reason": "业主联名来信"},
    "StartEmergency": {
        "type": "emergency_started",
        "lead": {"name": "赵一", "title": "regional_president"},
        "members": [
            {"name": "钱二", "function": "customer_relations"},
            {"name": "孙三", "function": "media_relations"},
            {"name": "李四", "function": "marketing"},
            {"name": "周五", "function": "legal"},
            {"name": "吴六", "function": "development"},
        ],
        "reported_at": "2026-11-23T18:00:00+08:00",
    },
    "ProposePlan": {"type": "plan_proposed", "summary": "外墙整体重做防水", "cost": "380000.00"},
    "ApprovePlan": {
        "type": "plan_approved",
        "plan": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a12",
        "approver": {"name": "郑七", "title": "区域总裁"},
    },
    "AnswerPlan": {"type": "plan_answered", "households": ["3-1-201"], "accepted": True},
    "Close": {"type": "closed", "decision": "维修完成, 业主认可", "recurrence_expected": False},
    "Reopen": {"type": "reopened", "reason": "雨后再次渗水"},
    "Blame": {
        "type": "blamed",
        "responsible": [
            {
                "party": "王八",
                "title": "项目工程经理",
                "unit": "佛山项目",
                "finding": "未按图施工",
                "share_percent": "70",
            },
            {"party": "冯九", "title": "监理", "unit": "监理单位", "finding": "未旁站", "share_percent": "30"},
        ],
        "conclusion": "施工与监理双方责任",
        "determined_by": {"name": "陈十", "title": "区域客户关系主管负责人"},
    },
    "Sanction": {"type": "sanctioned", "party": "王八", "measure": "通报批评"},
    "RecordLesson": {
        "type": "lesson_recorded",
        "root_cause": "窗框收口未做附加层",
        "lesson": "防水附加层列入隐蔽工程验收",
        "measures": ["修订验收表", "全区域自查"],
    },
    "ApplyLesson": {
        "type": "lesson_applied",
        "lesson": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a13",
        "applied_to": "佛山二期外墙工程",
    },
    "Link": {"type": "linked", "case": "GD-20261123-0042", "kind": "merged_into", "reason": "同一外墙渗水"},
    "Unlink": {"type": "unlinked", "case": "GD-20261123-0042", "kind": "merged_into", "reason": "经查并非同源"},
    "Note": {"type": "noted", "text": "物业已到现场查看"},
    "Correct": {
        "type": "corrected",
        "action": "019312d0-7c1e-7bd1-9d5e-0d6f3f1c2a14",
        "replacement": {"facts": {"compensation": "20000.00"}},
        "reason": "多写了两个零",
    },
    "DescribeRegion": {"name": "广东区域", "president": {"name": "赵一"}},
    "DescribeProject": {"name": "佛山一号院", "region": "GD", "managers": {"project": {"name": "孙六"}}},
}
