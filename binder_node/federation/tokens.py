"""Whether a member takes the build tokens that the prime mints.

The front page is the prime's: it hands out a token for what is to be built, signed with the ``build_token_secret`` that
the federation shares, and the redirector sends the build to any member. One with another secret refuses every build
from the front page (403), while its /health says ok. So the prime is asked for a token, and the member is shown it.
"""

from __future__ import annotations

import base64
import hmac
import json
from binascii import Error, a2b_hex
from dataclasses import dataclass
from urllib.parse import quote

from binder_node.binder.client import Binder, told
from binder_node.errors import StepError
from binder_node.secrets.masked import Masked

# A repository that there is not: a member that takes the token gets as far as looking for it, in its own pod (port 9 is
# `discard`, RFC 863, which nobody serves), so that it is refused at once, names or no names.
SPEC = f"git/{quote('https://127.0.0.1:9/binder-node-token-check', safe='')}/HEAD"
# A member looks for the repository in vain within a second.
REFUSE_SECONDS = 60.0
# Before the page's configuration (binderhub/templates/page.html).
CONFIG = "window.pageConfig ="


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether the member takes the prime's tokens; ``why`` and ``remedy`` where not."""

    ok: bool
    why: str = ""
    remedy: str = ""


def check(prime: Binder, member: Binder, secret: Masked | None) -> Finding:
    """Show the member a token of the prime's. ``secret`` is what the member should have by our own file, if known.

    Raises:
        StepError, DeadlineError: one of them does not answer, or not as BinderHub does.
    """
    token = minted(prime)
    refused = _refused(member, token, origin=prime.base_url)
    if not refused:
        return Finding(True)
    why = f"it refuses the prime's build tokens ({refused}): launches from the front page fail"
    if secret is not None and signed(token, secret):
        return Finding(False, why, "the secret in our file is the prime's: run `binder-node up`")
    return Finding(False, why, "ask for the federation's build_token_secret, `binder-node secrets set` it, then `up`")


def minted(prime: Binder) -> str:
    """A token for :data:`SPEC`, from the prime's launch page. Raises StepError where the page has none."""
    what = "ask the prime for a build token"
    answer = prime.request("GET", f"{prime.base_url}/v2/{SPEC}", what)
    token = of_page(answer.text) if answer.status_code == 200 else ""
    if not token:
        reason = "its launch page has none" if answer.status_code == 200 else told(answer)
        raise StepError(prime.name, what, reason, "is this BinderHub's own address?")
    return token


def of_page(page: str) -> str:
    """The build token in a launch page; empty where there is none.

    >>> of_page('<script>window.pageConfig = {"buildToken": "a.b.c", "x": "\\\\u003c"};</script>')
    'a.b.c'
    """
    _, _, rest = page.partition(CONFIG)
    try:
        found, _ = json.JSONDecoder().raw_decode(rest.lstrip())
    except ValueError:
        return ""
    token = found.get("buildToken") if isinstance(found, dict) else None
    return token if isinstance(token, str) else ""


def signed(token: str, secret: Masked) -> bool:
    """Whether ``secret`` (hexadecimal, as BinderHub reads it) signed ``token`` (RFC 7515, HS256)."""
    body, _, signature = token.rpartition(".")
    try:
        key = a2b_hex(secret.reveal())
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except (Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(key, body.encode(), "sha256"), given)


def _refused(member: Binder, token: str, origin: str) -> str:
    """What the member says against the token; empty where it takes it. Nothing is built: there is no such repository.

    A token is for the page that it stood in: the member is asked as that page's browser would ask.
    """
    *_, last = member.build(SPEC, silence=member.patience, seconds=REFUSE_SECONDS, token=token, origin=origin)
    if last.phase != "failed":
        what, wrong = "show the member the prime's build token", f"it says {last.phase} for what there is not"
        raise StepError(member.name, what, wrong, "is this BinderHub's own address?")
    return last.message.strip() if last.status == 403 else ""
