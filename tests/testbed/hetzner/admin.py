"""The control path beside the API, ``/admin``: what a test in another process does to the stand-in, as JSON.

GET    /admin                 what there is, by kind; switches; what broke the contract
GET    /admin/log             all requests; DELETE empties it
POST   /admin/faults          a switch (:class:`tests.testbed.hetzner.faults.Fault` without ``hook``)
DELETE /admin/faults          all switches off
POST   /admin/release         stuck actions go on
POST   /admin/catalogue       {"stock_out" | "restock" | "withdraw" | "price": {...}}, see Catalogue
POST   /admin/clock           {"skew": seconds}
POST   /admin/limits          {"servers": 1, ...}
POST   /admin/rate            {"limit": 10, "left": 0, "a_second": 0.5}
POST   /admin/crowd           {"count": 5}: other people's things in the same project
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response

from tests.testbed.hetzner.crowd import crowd
from tests.testbed.hetzner.errors import ApiError
from tests.testbed.hetzner.faults import ACTION_KINDS, REQUEST_KINDS, Fault

if TYPE_CHECKING:
    from tests.testbed.hetzner.app import App

TABLES = ("ssh_keys", "servers", "primary_ips", "volumes", "firewalls", "placement_groups", "zones")


def handle(app: App, request: Request) -> Response:
    """One request of the control path, with the project's lock held; what it cannot do is a 422."""
    from tests.testbed.hetzner.app import as_json, body_of

    what = request.path.removeprefix("/admin").strip("/")
    try:
        body = body_of(request) or {}
        if not isinstance(body, dict):
            raise ValueError("give an object")
        return as_json(200, act(app, request.method, what, body), {})
    except ApiError as error:
        return as_json(error.status, error.body(), {})
    except (KeyError, TypeError, ValueError) as error:
        return as_json(422, {"error": f"{type(error).__name__}: {error}"}, {})


def act(app: App, method: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the module's docstring says. Raises KeyError, TypeError or ValueError where it does not say it."""
    project = app.project
    match method, what:
        case "GET", "":
            return {
                **{table: [row.name for row in getattr(project, table).values()] for table in TABLES},
                "faults": [fault.json() for fault in project.faults.on],
                "violations": app.violations,
            }
        case "GET", "log":
            return {"log": app.log()}
        case "DELETE", "log":
            app.journal.clear()
        case "POST", "faults":
            if body.get("kind") not in (*REQUEST_KINDS, *ACTION_KINDS) or body["kind"] == "call":
                raise ValueError(f"no kind of fault: {body.get('kind')}")
            return project.faults.add(Fault(**body)).json()
        case "DELETE", "faults":
            project.faults.remove()
        case "POST", "release":
            for action in project.actions.all.values():
                if action.running and action.stuck:
                    project.actions.release(action)
        case "POST", "catalogue":
            for switch, given in body.items():
                market(app, switch, given)
        case "POST", "clock":
            project.skew = timedelta(seconds=float(body["skew"]))
        case "POST", "limits":
            project.limits |= {key: int(value) for key, value in body.items()}
        case "POST", "rate":
            app.rate.limit, app.rate.left = int(body["limit"]), float(body.get("left", body["limit"]))
            app.rate.a_second = float(body.get("a_second", app.rate.a_second))
        case "POST", "crowd":
            crowd(project, int(body.get("count", 3)))
        case _:
            raise ValueError(f"no {method} /admin/{what}")
    return {}


def market(app: App, switch: str, given: dict[str, Any]) -> None:
    catalogue = app.project.catalogue
    verbs: dict[str, Callable[..., None]] = {
        "stock_out": catalogue.stock_out,
        "restock": catalogue.restock,
        "withdraw": catalogue.withdraw,
        "price": catalogue.set_price,
    }
    names = {"type": "type_"}
    verbs[switch](**{names.get(key, key): value for key, value in given.items()})
