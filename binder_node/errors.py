"""The four ways in which binder-node fails; everything else is a bug and shows its traceback with ``--debug``.

Each class says what an operator needs in one line. The command line turns them into exit codes
(:attr:`BinderNodeError.exit_code`); nothing else in the package prints or exits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class BinderNodeError(Exception):
    """What every deliberate failure derives from. ``str(error)`` is fit for an operator's eyes and holds no secret."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in what the operator wrote: where it is, what is wrong and what would be right.

    ``file`` and ``line`` (1-based, 0 when there is none) say where; ``path`` is the dotted key; ``wrong`` and
    ``right`` are the two halves of the sentence.
    """

    file: str
    line: int
    path: str
    wrong: str
    right: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else (f"{self.file}: " if self.file else "")
        key = f"{self.path}: " if self.path else ""
        return f"{place}{key}{self.wrong}; {self.right}" if self.right else f"{place}{key}{self.wrong}"


class InputError(BinderNodeError):
    """The operator's input is wrong; nothing was touched. Carries every :class:`Problem` at once."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class StepError(BinderNodeError):
    """A step was tried and failed.

    ``host`` is where (a node's name, or ``here`` for the operator's machine), ``step`` what was being done,
    ``reason`` what the command or server said (its stderr, trimmed), ``remedy`` what to do about it.
    """

    def __init__(self, host: str, step: str, reason: str, remedy: str = "") -> None:
        self.host, self.step, self.reason, self.remedy = host, step, reason.strip(), remedy
        super().__init__(f"{host}: {step}: {self.reason}" + (f" -> {remedy}" if remedy else ""))


class DeadlineError(StepError):
    """A wait ran out. ``what`` was waited for, for ``seconds``; ``last`` is the last thing seen."""

    exit_code = 3

    def __init__(self, host: str, what: str, seconds: float, last: str = "", remedy: str = "") -> None:
        self.what, self.seconds, self.last = what, seconds, last
        super().__init__(host, f"waited {seconds:.0f} s for {what}", last or "nothing was seen", remedy)


class LockedError(BinderNodeError):
    """Another process holds the node's lock. The message names the holder and its age, and how to break the lock."""

    exit_code = 4
