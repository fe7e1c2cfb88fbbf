"""The form of all routes: what a handler is given, what it gives back, and what lists and bodies have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.testbed.hetzner.actions import Action
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.query import check_labels, ordered, page_of, parse_selector, selected
from tests.testbed.hetzner.resources import Resource

Json = dict[str, Any]
B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """A request's body: nothing is guessed, and a key that the API has not is an error (the API drops it silently)."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Rename(Body):
    """What ``PUT`` changes of a resource with a name and labels."""

    name: str | None = Field(None, min_length=1)
    labels: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request below ``/v1``: ``args`` from its path, ``query`` with every value of a key, ``body`` parsed JSON."""

    project: Project
    args: Mapping[str, Any]
    query: Mapping[str, Sequence[str]]
    body: Any

    @property
    def id(self) -> int:
        return int(self.args["id"])

    def first(self, name: str) -> str:
        return next(iter(self.query.get(name, ())), "")

    def parse(self, model: type[B]) -> B:
        """The body as a model. Raises ApiError ``invalid_input`` that names every wrong field."""
        try:
            return model.model_validate(self.body if self.body is not None else {})
        except ValidationError as error:
            problems = [(".".join(map(str, row["loc"])), row["msg"]) for row in error.errors(include_url=False)]
            names, _ = problems[0]
            details = {"fields": [{"name": name, "messages": [message]} for name, message in problems]}
            raise ApiError("invalid_input", f"invalid input in field '{names}': {problems[0][1]}", details) from None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Json | None = None


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """``path`` is below ``/v1`` and written as in the OpenAPI document."""

    method: str
    path: str
    handler: Handler


def listing(call: Call, key: str, rows: Iterable[Json], *filters: str, sorts: Sequence[str] = ("id", "name")) -> Answer:
    """A page of ``rows``, selected by ``name``, ``label_selector`` and further ``filters`` (fields), and ordered."""
    found = list(rows)
    for field in ("name", *filters):
        if wanted := call.query.get(field):
            found = [row for row in found if str(row[field]) in wanted]
    if selector := call.first("label_selector"):
        parse_selector(selector)
        found = [row for row in found if selected(row["labels"], selector)]
    page, meta = page_of(ordered(found, call.query.get("sort", ()), sorts), call.first("page"), call.first("per_page"))
    return Answer(200, {key: page, "meta": meta})


def rename(call: Call, row: Resource, table: Mapping[int, Resource], what: str, body: Rename | None = None) -> None:
    """Do what a ``PUT`` says: whole or not at all."""
    body = body or call.parse(Rename)
    labels = row.labels if body.labels is None else check_labels(body.labels)
    if body.name is not None:
        call.project.check_name(table, what, body.name, row.id)
        row.name = body.name
    row.labels = labels


def acted(action: Action, status: int = 201) -> Answer:
    return Answer(status, {"action": action.json()})


ACTION_SORTS = ("id", "command", "status", "started", "finished")


def actions_page(call: Call, found: Iterable[Action]) -> Answer:
    return listing(call, "actions", [row.json() for row in found], "status", "id", sorts=ACTION_SORTS)


def one_action(call: Call, number: int, kind: str = "") -> Answer:
    found = call.project.actions.all.get(number)
    if found is None or (kind and kind not in [name for name, _ in found.resources]):
        raise ApiError("not_found", f"action with ID '{number}' not found")
    return acted(found, 200)


def action_routes(plural: str, kind: str, exists: Callable[[Call], int]) -> list[Route]:
    """The four ways to look at the actions of one kind of resource. ``exists`` raises where there is no resource."""

    def of_kind(call: Call) -> Answer:
        every = call.project.actions.all.values()
        return actions_page(call, [row for row in every if kind in [name for name, _ in row.resources]])

    return [
        Route("GET", f"/{plural}/actions", of_kind),
        Route("GET", f"/{plural}/actions/{{id}}", lambda call: one_action(call, call.id, kind)),
        Route(
            "GET",
            f"/{plural}/{{id}}/actions",
            lambda call: actions_page(call, call.project.actions.of(kind, exists(call))),
        ),
        Route(
            "GET",
            f"/{plural}/{{id}}/actions/{{action_id}}",
            lambda call: one_action(call, int(call.args["action_id"]), kind),
        ),
    ]


def all_actions(call: Call) -> Answer:
    """``GET /actions`` answers for named actions only, since 2025."""
    wanted = call.query.get("id", ())
    if not wanted:
        raise invalid("id", "is required")
    found = [row.json() for row in call.project.actions.all.values() if str(row.id) in wanted]
    return Answer(200, {"actions": found})


ROUTES = [
    Route("GET", "/actions", all_actions),
    Route("GET", "/actions/{id}", lambda call: one_action(call, call.id)),
]
