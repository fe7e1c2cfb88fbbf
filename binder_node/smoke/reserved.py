"""Names of what deep checks make: each begins with the reserved one, and says when it was made."""

from __future__ import annotations

import secrets
import time

from binder_node.smoke.checks import RESERVED

# A run that is still at work is younger.
OLD_SECONDS = 3600


def fresh_name(between: str) -> str:
    """A name that nothing has; ``between`` is what parts it from the reserved word, ``-`` or ``/``."""
    return f"{RESERVED}{between}{int(time.time())}-{secrets.token_hex(4)}"


def is_old(name: str, between: str, now: float) -> bool:
    """Whether a name is of a run that must have ended: its process was killed, or its machine went down.

    >>> is_old("binder-node-smoke-1000-ab", "-", 4600), is_old("binder-node-smoke-1000-ab", "-", 4599)
    (True, False)
    >>> is_old("main", "-", 1e12), is_old("binder-node-smoke/mine", "/", 1e12)
    (False, False)
    """
    begin = RESERVED + between
    made = name.removeprefix(begin).partition("-")[0]
    return name.startswith(begin) and made.isdigit() and now - int(made) >= OLD_SECONDS
