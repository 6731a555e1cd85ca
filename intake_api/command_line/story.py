"""The story of the demo: invented people, and telephone numbers that nobody has."""

from typing import Any, NamedTuple


class Scene(NamedTuple):
    """One action, so many minutes ago. `about`: the household whose complaint the body shall name."""

    minutes: int
    told: str
    body: dict[str, Any]
    time_field: str = "occurred_at"
    about: str | None = None


_PERSON = {"name": "陈志强", "title": "客户关系主管", "phone": "13800000100"}
_LI, _HUANG, _LIN, _HE = "3栋1单元2601室", "3栋1单元2501室", "3栋2单元2602室", "5栋1单元1803室"

OPENING_BODY = Scene(
    26 * 60,
    "业主群异动: 连日大雨后多户发帖称外墙渗水, 相约周末到销售中心讨说法",
    {
        "project": "GD-FS-001",
        "category": "engineering",
        "title": "3栋外墙渗水",
        "stage": "warning",
        "unrest": "业主群二十余户讨论外墙渗水, 有人提议周末集体到销售中心讨说法, 尚无人正式投诉",
        "tags": ["渗水", "雨季"],
        "operator": {"id": "kf-017", "name": "何晓雯"},
    },
)


def _complaint(
    minutes: int, told: str, channel: str, household: str | None, complainant: dict[str, str] | None, note: str
) -> Scene:
    body = {
        "type": "received",
        "obtained_by": "400客服中心",
        "channel": channel,
        "household": household,
        "complainant": complainant,
        "note": note,
    }
    return Scene(minutes, told, body, "obtained_at")


def _responded(minutes: int, told: str, households: list[str]) -> Scene:
    body = {"type": "responded", "households": households, "channel": "hotline", "contact_person": _PERSON}
    return Scene(minutes, told, body, "contacted_at")


STORY = (
    _complaint(
        245,
        f"李秀兰 ({_LI}) 来电: 主卧飘窗渗水, 木地板起鼓",
        "hotline",
        _LI,
        {"name": "李秀兰", "phone": "13800000001", "relation": "业主"},
        "主卧飘窗上沿渗水, 木地板起鼓约两平方米, 要求维修并赔偿地板",
    ),
    _complaint(
        232,
        f"黄建军 ({_HUANG}) 在业主 App 报: 客厅外墙返潮发霉",
        "app",
        _HUANG,
        {"name": "黄建军", "phone": "13800000002", "relation": "业主"},
        "客厅东侧外墙返潮, 墙面发霉, 家有婴儿",
    ),
    Scene(
        221,
        f"客服致电 {_HUANG}: 无人接听 (不停止计时)",
        {"type": "contact_attempted", "households": [_HUANG], "channel": "hotline", "outcome": "no_answer"},
        "attempted_at",
    ),
    _responded(205, "致电李秀兰: 约定上门查看, 由陈志强跟进", [_LI]),
    _complaint(
        190,
        "12345 转来匿名投诉: 3栋外墙砖缝开裂",
        "government",
        None,
        None,
        "来电人不愿透露房号, 称 3 栋多层外墙砖缝开裂, 担心坠落",
    ),
    Scene(
        172,
        "工程部备注: 屋面女儿墙泛水开裂, 3栋东立面待吊篮查勘",
        {"type": "noted", "text": "屋面女儿墙泛水开裂, 3栋东立面胶缝老化; 已约吊篮明早进场查勘, 雨停后施工"},
    ),
    Scene(
        150,
        f"黄建军 ({_HUANG}) 催办: 发霉面积扩大",
        {"type": "chased", "channel": "app", "note": "称两个多小时无人回电"},
        about=_HUANG,
    ),
    _responded(141, "联系上黄建军, 由陈志强跟进: 已超过 1 小时", [_HUANG]),
    _complaint(
        118,
        f"林志豪 ({_LIN}) 到访物业前台: 书房窗框渗水",
        "visit",
        _LIN,
        {"name": "林志豪", "phone": "13800000003", "relation": "租户"},
        "书房窗框四角渗水, 书柜受潮",
    ),
    _responded(96, "当面及电话答复林志豪, 由陈志强跟进", [_LIN]),
    _complaint(
        24,
        f"何美玲 ({_HE}) 微信投诉: 北卧外墙渗水",
        "wechat",
        _HE,
        {"name": "何美玲", "phone": "13800000004", "relation": "业主"},
        "5栋也出现渗水, 要求全面排查",
    ),
    Scene(
        9,
        f"客服致电 {_HE}: 占线 (时限未到)",
        {"type": "contact_attempted", "households": [_HE], "channel": "hotline", "outcome": "busy"},
        "attempted_at",
    ),
)
