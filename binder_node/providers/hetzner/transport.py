"""Calls to the API: what is tried again and when, and what a refusal means to an operator."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from binder_node import __version__
from binder_node.errors import StepError
from binder_node.secrets.masked import Masked

if TYPE_CHECKING:
    from hcloud import Client
    from requests import Response

T = TypeVar("T")

# Nothing was done: the same call may be made again. https://docs.hetzner.cloud/reference/cloud#errors
LATER = frozenset({"rate_limit_exceeded", "conflict", "locked"})
# Nobody knows whether it was done.
UNCERTAIN = frozenset({"server_error", "service_error", "unavailable", "bad_gateway", "timeout"})
# Another type or location may do.
SOLD_OUT = frozenset({"resource_unavailable", "placement_error", "no_space_left_in_location"})
# A thing that is being let go of.
IN_USE = frozenset({"resource_in_use", "must_be_unassigned", "volume_still_attached", "server_not_stopped"})

REMEDIES = {
    "unauthorized": (
        "the API does not take this token",
        "make one in Hetzner's console (Security, API tokens) and give it by HCLOUD_TOKEN or provider.token_command",
    ),
    "token_readonly": (
        "this token may only read",
        "make one with read and write in Hetzner's console (Security, API tokens)",
    ),
    "forbidden": ("this token may not do that", "make one with read and write in Hetzner's console"),
    "resource_limit_exceeded": (
        "the project's limit is reached",
        "ask for a higher one in Hetzner's console (Limits), or delete what is not needed (`binder-node leftovers`)",
    ),
    "protected": ("it is protected", "lift the protection in Hetzner's console if you mean it"),
    "maintenance": ("the API is under maintenance", "try again later: https://status.hetzner.com"),
    "uniqueness_error": ("the name or the key is taken already", "look for it in Hetzner's console"),
    "rate_limit_exceeded": ("the project's rate limit is used up", "try again later; who else calls the API so often?"),
}


class Refused(StepError):
    """The API said no; ``code`` is its own word for why."""

    def __init__(self, host: str, step: str, code: str, reason: str, remedy: str = "") -> None:
        self.code = code
        super().__init__(host, step, reason, remedy)


class ActionFailed(Refused):
    """The API took the order and did not carry it out."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: of one request, of one call with its repetitions, of one action, of the first boot, between looks."""

    request: float = 15
    call: float = 90
    action: float = 600
    boot: float = 300
    poll: float = 1


def explain(host: str, step: str, code: str, message: str, kind: type[Refused] = Refused) -> Refused:
    """A refusal in an operator's words.

    >>> str(explain("bids", "create server bids", "token_readonly", "token is only allowed to perform GET requests"))
    ... # doctest: +ELLIPSIS
    'bids: create server bids: this token may only read (token_readonly: ...) -> make one with read and write ...'
    """
    reason, remedy = REMEDIES.get(code, ("", ""))
    said = f"{code}: {message}"
    return kind(host, step, code, f"{reason} ({said})" if reason else f"the API refused: {said}", remedy)


def seconds_until(reset: str, now: datetime) -> float:
    """Seconds to wait for ``RateLimit-Reset``, seconds since the epoch on the API's clock, of which ``now`` is a look.

    >>> seconds_until("1700000010", datetime.fromtimestamp(1700000000, UTC))
    10.0
    """
    try:
        return max(0.0, float(reset) - now.timestamp())
    except ValueError:
        return 1.0


class Transport:
    """A client of one project. Safe to use from several threads."""

    def __init__(self, host: str, endpoint: str, token: Masked, patience: Patience) -> None:
        import stamina
        from hcloud import Client

        stamina.instrumentation.set_on_retry_hooks(())  # it would log each repetition to stderr
        self.host, self.patience = host, patience
        self.client: Client = Client(
            token=token.reveal(),
            api_endpoint=endpoint.rstrip("/"),
            application_name="binder-node",
            application_version=__version__,
            timeout=patience.request,
        )
        # hcloud would try again by itself, also what is not known to have failed, and without regard to the header
        # that says when; there is no setting for it.
        self.client._client._retry_max_retries = 0
        self.client._client._session.hooks["response"].append(self._note)
        self._heard = threading.local()
        self._ahead = 0.0  # the API's clock before ours, in seconds

    def now(self) -> datetime:
        """The time by the API's clock: this computer's may be wrong."""
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self._ahead, UTC)

    def _note(self, response: Response, **_: Any) -> None:
        theirs = _date(response.headers)
        if theirs is not None:
            self._ahead = (theirs - datetime.now(UTC)).total_seconds()
        if response.status_code == 429:
            reset = response.headers.get("RateLimit-Reset", "")
            self._heard.wait = seconds_until(reset, theirs or datetime.now(UTC))

    def call(self, step: str, ask: Callable[[], T], again: frozenset[str] = LATER | UNCERTAIN) -> T:
        """``ask`` until it is answered: for what may be asked twice (reading, setting, deleting).

        Raises:
            Refused: the API said no, or went on saying "later" for ``patience.call`` seconds.
            StepError: it could not be reached.
        """
        return self._tried(step, ask, again)

    def create(self, step: str, make: Callable[[], T], find: Callable[[], T | None]) -> T:
        """``make`` something once, whatever becomes of the answer: where it may have been made, ``find`` looks first.

        Names are unique in a project, so that a request that is still on its way makes no second one: one of the two
        is refused, and found.

        Raises: as :meth:`call`.
        """

        def once() -> T:
            from hcloud import APIException
            from requests import RequestException

            try:
                return make()
            except (APIException, RequestException) as error:
                if not (_uncertain(error) or _code(error) == "uniqueness_error"):
                    raise
                found = self.call(step, find)
                if found is None:
                    raise
                return found

        return self._tried(step, once, LATER | UNCERTAIN)

    def _tried(self, step: str, ask: Callable[[], T], again: frozenset[str]) -> T:
        import stamina
        from hcloud import APIException
        from requests import RequestException

        def hook(error: Exception) -> bool | float:
            if not isinstance(error, APIException):
                return isinstance(error, RequestException)
            if _code(error) == "rate_limit_exceeded":
                wait: float = getattr(self._heard, "wait", 1.0)
                # Not all of one's threads, and of other clients, at once.
                return wait + random.uniform(0.05, 0.5) if wait < self.patience.call else False
            return _code(error) in again or (_uncertain(error) and again >= UNCERTAIN)

        try:
            for attempt in stamina.retry_context(on=hook, attempts=None, timeout=self.patience.call, wait_max=10):
                with attempt:
                    return ask()
        except APIException as error:
            raise self._refused(step, error) from None
        except RequestException as error:
            reason = f"the API cannot be reached: {_cause(error)}"
            raise StepError(self.host, step, reason, "try again; https://status.hetzner.com") from None
        raise AssertionError("stamina ends by returning or raising")

    def _refused(self, step: str, error: Exception) -> Refused:
        code, message = _code(error), str(getattr(error, "message", ""))
        if code == "rate_limit_exceeded":
            message += f"; free again in {getattr(self._heard, 'wait', 0.0):.0f} s"
        fields = getattr(error, "details", None)
        if isinstance(fields, Mapping) and isinstance(fields.get("limits"), list):
            message += ": " + ", ".join(str(limit.get("name")) for limit in fields["limits"])
        return explain(self.host, step, code, message)


def _code(error: Exception) -> str:
    """The API's word; of an answer that was none of the API's, its status."""
    return str(getattr(error, "code", ""))


def _uncertain(error: Exception) -> bool:
    """Whether the request may have been carried out all the same."""
    code = getattr(error, "code", None)
    if code is None:
        return True  # the connection broke
    return code in UNCERTAIN or (isinstance(code, int) and (code >= 500 or code < 400))


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        found = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it in addresses of objects."""
    while (inner := error.__cause__ or error.__context__ or _argument(error)) is not None:
        error = inner
    return str(error) or type(error).__name__


def _argument(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return reason if isinstance(reason, BaseException) else None
