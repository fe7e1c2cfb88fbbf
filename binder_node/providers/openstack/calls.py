"""One call to an OpenStack API: tried again where that is safe, its failures in an operator's words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from binder_node.errors import BinderNodeError, DeadlineError, InputError, Problem, StepError

# A service behind a load balancer answers 502 to 504 while it restarts, and 500 when its database or queue does.
BROKEN = frozenset({500, 502, 503, 504})
TOO_MANY, ENDED = 429, 401
RENEWALS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Deadlines in seconds. ``request``: one answer; ``call``: a call with all its repetitions.

    ``server``: one to be built or gone, which takes minutes with a large image on a busy host; ``volume`` and
    ``other`` likewise; ``ssh``: a cloud image's first boot.
    """

    request: float = 30
    call: float = 60
    server: float = 900
    volume: float = 300
    other: float = 120
    ssh: float = 600

    def of(self, kind: str) -> float:
        return {"server": self.server, "volume": self.volume}.get(kind, self.other)


class UnsureError(Exception):
    """The answer to a call that makes something was lost: it may have been made. ``reason`` as the client said it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MissingError(Exception):
    """What was asked for is not there (404)."""


class RefusedError(StepError):
    """The cloud understood and said no; ``code`` is HTTP's."""

    def __init__(self, host: str, step: str, reason: str, remedy: str, code: int) -> None:
        self.code = code
        super().__init__(host, step, reason, remedy)


def call(
    name: str, step: str, function: Callable[[], T], *, again: bool, seconds: float, renewals: int = RENEWALS
) -> T:
    """What ``function``, one API call, returns.

    ``again``: it may be repeated when its answer was lost (it only reads, or twice is the same as once). A call that
    was turned away unread (429) is repeated in any case, when the server says; so is one whose token has ended (401),
    ``renewals`` times: keystoneauth makes a new one, but not for all of several calls at once.

    Raises:
        UnsureError: its answer was lost, and it may not be repeated.
        MissingError: 404.
        RefusedError: any other refusal.
        InputError: there are no credentials.
        StepError: there is no such service or region.
        DeadlineError: the API did not answer, or asked us to wait, for longer than ``seconds``.
    """
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return function()
        except BinderNodeError:
            raise
        except Exception as error:  # three libraries' errors: sorted here, and raised again where unknown
            code, wait = status(error), retry_after(error)
            lost = code in BROKEN or (code is None and is_lost(error))
            if code == ENDED and renewals:
                renewals -= 1
                continue
            if not lost and code != TOO_MANY:
                raise explained(name, step, error, code) from error
            if lost and not again:
                raise UnsureError(said(error)) from error
            pause = min(pause * 2, LONGEST_PAUSE)
            rest = wait if wait is not None else pause * random.uniform(0.5, 1)
            if time.monotonic() + rest > deadline:
                what = "the API, which asks us to wait" if code == TOO_MANY else "the API to answer"
                raise DeadlineError(name, f"{what} ({step})", seconds, said(error), "try again later") from error
            time.sleep(rest)


def status(error: Exception) -> int | None:
    """HTTP's code in any of the libraries' errors."""
    for attribute in ("status_code", "http_status"):
        code = getattr(error, attribute, None)
        if isinstance(code, int) and code:
            return code
    return None


def retry_after(error: Exception) -> float | None:
    """Seconds that the server asks us to wait."""
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return float(text) if text.isdigit() else None


def is_lost(error: Exception) -> bool:
    """Whether nobody knows what became of the request; a service whose versions could not be read counts as such."""
    import requests
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk

    return isinstance(
        error,
        auth.ConnectFailure
        | auth.DiscoveryFailure
        | auth.RetriableConnectionFailure
        | requests.ConnectionError
        | sdk.NotSupported
        | sdk.ServiceDiscoveryException,
    )


def said(error: Exception) -> str:
    """The library's words in one line, without the URL where the server gave a reason."""
    details = getattr(error, "details", None) or getattr(error, "message", None) or str(error)
    return " ".join(str(details).split())[:500] or type(error).__name__


def explained(name: str, step: str, error: Exception, code: int | None) -> Exception:
    """A failure in words, with what to do about it; an error that is none of the libraries' is given back as it is."""
    import requests
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk

    if code == 404:
        return MissingError(said(error))
    if code is not None:
        return RefusedError(name, step, said(error), REMEDIES.get(code, ""), code)
    if isinstance(error, auth.EndpointNotFound):
        reason = f"the cloud's catalog has no such service or region: {said(error)}"
        return StepError(name, step, reason, "look at provider.regions; `openstack catalog list` shows what there is")
    if isinstance(error, sdk.ConfigException | auth.AuthPluginException | auth.MissingRequiredOptions):
        return InputError(Problem("", 0, name, f"there are no credentials: {said(error)}", CREDENTIALS))
    if isinstance(error, sdk.SDKException | auth.ClientException | requests.RequestException):
        return StepError(name, step, said(error), "")
    return error


CREDENTIALS = "source your cloud's openrc file (OS_AUTH_URL, ...), or name your entry of clouds.yaml in provider.cloud"
REMEDIES = {
    401: "the credentials are wrong or have ended: source the cloud's openrc file again, or make new ones",
    403: "these credentials may look but not do that: give their user the role member in the project",
    409: "run the same command again; if it says the same, look at it in the cloud's manager",
    413: "the project's quota is full: have it raised in the cloud's manager, or delete what is not needed",
}
