"""``docs/reference/smoke.md``: every check, and the field guide's failures with the checks that catch them.

``python -m binder_node.smoke.describe`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from binder_node.smoke.checks import LAYERS, RESERVED, Check, catalogue
from binder_node.smoke.guide import FAILURES

INTRODUCTION = f"""\
# Smoke checks

<!-- Made by `python -m binder_node.smoke.describe`; a test compares. -->

`binder-node smoke NODE` and `pytest --pyargs binder_node.smoke --node NODE` run these, from the bottom up. A check
that stands on a failed one is not run: it is told as blocked, because of that one. Those marked *deep* write to the
node or launch on it, and run with `--deep` only; what they make has a name that begins with `{RESERVED}` or
`.binder-node-probe/`, and is taken away again. How to read and use them:
[check a node](../how-to/check-a-node.md).
"""
GUIDE = """
## What went wrong elsewhere, and which check catches it

Failures that really happened on members of the federation, in the order of the operations field guide. Numbers with
`#` are issues of [mybinder.org-deploy](https://github.com/jupyterhub/mybinder.org-deploy/issues).

| | What happened | Told in | Check |
|---|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    checks = catalogue()
    return INTRODUCTION + "".join(_layers(checks)) + GUIDE + "".join(_failures(checks))


def _layers(checks: Sequence[Check]) -> Iterator[str]:
    for layer in LAYERS:
        own = [check for check in checks if check.layer == layer]
        if not own:
            continue
        yield f"\n## {layer}\n\n| Check | Holds when it is green | Needs | |\n|---|---|---|---|\n"
        for check in own:
            needs = ", ".join(f"`{need}`" for need in check.needs)
            yield f"| `{check.id}` | {check.about} | {needs} | {'deep' if check.deep else ''} |\n"


def _failures(checks: Sequence[Check]) -> Iterator[str]:
    for failure in FAILURES:
        caught = ", ".join(f"`{check.id}`" for check in checks if failure.number in check.guide)
        answer = "; ".join(filter(None, (caught, failure.otherwise)))
        yield f"| {failure.number} | {failure.words} | {failure.source} | {answer} |\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
