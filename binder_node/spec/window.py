"""A time in the week at which something may be done: ``Sun 00:00-02:00``, in UTC. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY, _HOUR = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)", "([01][0-9]|2[0-3]):[0-5][0-9]"
# As the inventory writes it; `daily` is every day, nothing is no window.
WINDOW = f"^((daily|{_DAY}(,{_DAY})*) {_HOUR}-{_HOUR})?$"


@dataclass(frozen=True, slots=True)
class Window:
    """From ``begin`` on each of ``days`` (0 is Monday) until ``end``, on the next day where that is not later."""

    days: tuple[int, ...]
    begin: time
    end: time

    def spans(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Every span of the week around ``now``, in order: the one that may have begun yesterday is the first."""
        found = []
        for ahead in range(-1, 8):
            day = (now + timedelta(days=ahead)).date()
            if day.weekday() not in self.days:
                continue
            begin = datetime.combine(day, self.begin, now.tzinfo)
            end = datetime.combine(day, self.end, now.tzinfo)
            found.append((begin, end if end > begin else end + timedelta(days=1)))
        return found

    def opens(self, now: datetime) -> datetime:
        """When it is open next; ``now`` itself while it is. Its end is no part of it."""
        return next(max(now, begin) for begin, end in self.spans(now) if end > now)


def parse(text: str) -> Window:
    """What :data:`WINDOW` describes, if it is not empty.

    >>> parse("Sat,Sun 23:00-02:30")
    Window(days=(5, 6), begin=datetime.time(23, 0), end=datetime.time(2, 30))
    """
    days, _, hours = text.partition(" ")
    begin, _, end = hours.partition("-")
    numbers = range(7) if days == "daily" else sorted({DAYS.index(day) for day in days.split(",")})
    return Window(tuple(numbers), time.fromisoformat(begin), time.fromisoformat(end))
