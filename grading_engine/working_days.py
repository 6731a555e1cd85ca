"""Working days of China: public holidays and the weekend days that are worked to make up for them.

The days are the State Council's yearly notice as a kept library has it; a year that has not been announced yet knows
its holidays but no make-up days, so its answers may move once it is. Days are those of Beijing.
"""

from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import holidays

_BEIJING = ZoneInfo("Asia/Shanghai")
_DAY = timedelta(days=1)
_LAST_MOMENT = time(23, 59, 59, 999999, tzinfo=_BEIJING)


@cache
def _china(year: int) -> "holidays.HolidayBase":
    # Takes a tenth of a second to load, and only documents that count working days need it.
    import holidays

    return holidays.country_holidays("CN", years=year)


def is_working_day(day: date) -> bool:
    """Whether that day is worked in China, make-up days included."""
    return bool(_china(day.year).is_working_day(day))


def end_of_working_day_after(start: datetime, days: int) -> datetime:
    """The last moment of the n-th working day after the day on which the clock started."""
    day = start.astimezone(_BEIJING).date()
    while days:
        day += _DAY
        days -= is_working_day(day)
    return datetime.combine(day, _LAST_MOMENT)
