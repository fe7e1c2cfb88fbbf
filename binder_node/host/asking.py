"""A program of ours, run once by the machine's own python3: what it is asked goes in by stdin, never as an argument."""

from __future__ import annotations

import shlex

from binder_node import remote
from binder_node.errors import StepError
from binder_node.host.upload import as_root
from binder_node.node import Access


def answered(
    access: Access, program: str, question: str, *, timeout: float, step: str, remedy: str, root: bool = True
) -> str:
    """What ``program``, the text of one, printed; ``timeout`` in seconds. Without ``root`` as the login user.

    Raises:
        StepError: ssh failed, or the program did: ``step``, the last line that it wrote, ``remedy``.
        DeadlineError: it did not end in time.
    """
    command = f"exec python3 -c {shlex.quote(program)}"
    done = remote.run(
        access, as_root(access, command) if root else command, timeout=timeout, input=question, check=False
    )
    if done.code:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.code}"])[-1]
        raise StepError(access.name, step, last, remedy)
    return done.stdout
