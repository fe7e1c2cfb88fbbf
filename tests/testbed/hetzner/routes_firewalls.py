"""Firewalls: rules, and the servers they are on, named or by label."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from pydantic import Field

from tests.testbed.hetzner import render
from tests.testbed.hetzner.actions import Action
from tests.testbed.hetzner.api import Answer, Body, Call, Route, action_routes, listing, rename
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.query import check_labels, parse_selector
from tests.testbed.hetzner.resources import Firewall

MOST_RULES = 50
MOST_ADDRESSES = 100  # of one rule
SERVER_FIREWALLS = 5


class Rule(Body):
    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp", "icmp", "esp", "gre"]
    source_ips: list[str] = Field(default_factory=list, max_length=MOST_ADDRESSES)
    destination_ips: list[str] = Field(default_factory=list, max_length=MOST_ADDRESSES)
    port: str | None = None
    description: str | None = Field(None, max_length=255)


class ServerId(Body):
    id: int


class Selector(Body):
    selector: str


class Target(Body):
    type: Literal["server", "label_selector"]
    server: ServerId | None = None
    label_selector: Selector | None = None


class Rules(Body):
    rules: list[Rule] = Field(max_length=MOST_RULES)


class CreateFirewall(Body):
    name: str = Field(min_length=1, max_length=128)
    rules: list[Rule] = Field(default_factory=list, max_length=MOST_RULES)
    apply_to: list[Target] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)


class ApplyTo(Body):
    apply_to: list[Target] = Field(min_length=1)


class RemoveFrom(Body):
    remove_from: list[Target] = Field(min_length=1)


def check_rule(rule: Rule, at: int) -> dict[str, object]:
    """The rule as it is kept. Raises ApiError ``invalid_input`` with the place of what is wrong."""
    field = f"rules.{at}"
    ported = rule.protocol in ("tcp", "udp")
    if ported is (rule.port is None):
        raise invalid(f"{field}.port", "is required" if ported else f"{rule.protocol} has no port")
    if rule.port is not None:
        first, dash, last = rule.port.partition("-")
        ends = [int(text) if text.isdecimal() else 0 for text in ([first, last] if dash else [first])]
        if rule.port != "any" and (not all(1 <= end <= 65535 for end in ends) or ends != sorted(ends)):
            raise invalid(f"{field}.port", f"'{rule.port}' is not a port or range")
    used, unused = ("source_ips", "destination_ips") if rule.direction == "in" else ("destination_ips", "source_ips")
    if not getattr(rule, used):
        raise invalid(f"{field}.{used}", "is required")
    if getattr(rule, unused):
        raise invalid(f"{field}.{unused}", f"must be empty with direction {rule.direction}")
    for text in getattr(rule, used):
        try:
            if "/" not in text or str(ip_network(text)) != text:
                raise ValueError
        except ValueError:
            raise invalid(f"{field}.{used}", f"'{text}' is not a network in CIDR form") from None
    return rule.model_dump()


def check_rules(rules: list[Rule]) -> list[dict[str, object]]:
    return [check_rule(rule, at) for at, rule in enumerate(rules)]


def find(call: Call) -> Firewall:
    return call.project.get(call.project.firewalls, "firewall", call.id)


def check_target(project: Project, wall: Firewall, target: Target) -> None:
    """Raises ApiError where the firewall cannot be put on the target."""
    if target.type == "label_selector":
        if target.label_selector is None:
            raise invalid("label_selector", "is required")
        parse_selector(target.label_selector.selector)
        if target.label_selector.selector in wall.selectors:
            raise ApiError("firewall_already_applied", "firewall was already applied")
        return
    if target.server is None:
        raise invalid("server", "is required")
    server = project.servers.get(target.server.id)
    if server is None:
        raise ApiError("firewall_resource_not_found", "firewall resource not found")
    if server.id in wall.servers:
        raise ApiError("firewall_already_applied", "firewall was already applied")
    if len(project.firewalls_of(server)) >= SERVER_FIREWALLS:
        raise ApiError("resource_limit_exceeded", "firewall limit of the server exceeded")
    if project.ip_of(server.id, "ipv4") is None and project.ip_of(server.id, "ipv6") is None:
        raise ApiError("private_net_only_server", "server has no public interface")


def put(project: Project, wall: Firewall, targets: list[Target]) -> list[Action]:
    """Put the firewall on all targets, or on none."""
    for target in targets:
        check_target(project, wall, target)
    actions = []
    for target in targets:
        if target.label_selector is not None:
            wall.selectors.append(target.label_selector.selector)
            actions += [apply_action(project, wall, row) for row in project.selected_by(target.label_selector.selector)]
        elif target.server is not None:
            wall.servers.append(target.server.id)
            actions.append(apply_action(project, wall, target.server.id))
    return actions


def apply_action(project: Project, wall: Firewall, server: int) -> Action:
    wall.pending.add(server)

    def applied() -> None:
        wall.pending.discard(server)

    return project.action("apply_firewall", ("server", server), ("firewall", wall.id), effect=applied)


def create(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateFirewall)
    labels, rules = check_labels(body.labels), check_rules(body.rules)
    project.check_name(project.firewalls, "firewall", body.name)
    made = Firewall(project.new_id(), body.name, labels, project.now(), rules)
    actions = put(project, made, body.apply_to)
    project.firewalls[made.id] = made
    if rules:
        actions.insert(0, project.action("set_firewall_rules", ("firewall", made.id)))
    return Answer(201, {"firewall": render.firewall(project, made), "actions": [row.json() for row in actions]})


def every(call: Call) -> Answer:
    rows = [render.firewall(call.project, row) for row in call.project.firewalls.values()]
    return listing(call, "firewalls", rows, sorts=("id", "name", "created"))


def one(call: Call) -> Answer:
    return Answer(200, {"firewall": render.firewall(call.project, find(call))})


def replace(call: Call) -> Answer:
    rename(call, find(call), call.project.firewalls, "firewall")
    return one(call)


def delete(call: Call) -> Answer:
    project, row = call.project, find(call)
    if row.servers or row.selectors:
        raise ApiError("resource_in_use", "firewall is still in use")
    del project.firewalls[row.id]
    return Answer(204)


def answer(actions: list[Action]) -> Answer:
    return Answer(201, {"actions": [row.json() for row in actions]})


def set_rules(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Rules), find(call)
    row.rules = check_rules(body.rules)
    first = project.action("set_firewall_rules", ("firewall", row.id))
    on = [*row.servers, *(number for selector in row.selectors for number in project.selected_by(selector))]
    return answer([first, *(apply_action(project, row, number) for number in dict.fromkeys(on))])


def apply_to(call: Call) -> Answer:
    return answer(put(call.project, find(call), call.parse(ApplyTo).apply_to))


def remove_from(call: Call) -> Answer:
    project, body, row = call.project, call.parse(RemoveFrom), find(call)
    for target in body.remove_from:
        known = (target.server and target.server.id in row.servers) or (
            target.label_selector and target.label_selector.selector in row.selectors
        )
        if not known:
            by_label = target.server and any(target.server.id in project.selected_by(one) for one in row.selectors)
            code = "firewall_managed_by_label_selector" if by_label else "firewall_resource_not_found"
            raise ApiError(code, "firewall is not applied to the resource by name")
    actions = []
    for target in body.remove_from:
        gone = [target.server.id] if target.server else []
        if target.label_selector:
            gone = project.selected_by(target.label_selector.selector)
            row.selectors.remove(target.label_selector.selector)
        row.servers = [number for number in row.servers if number not in gone] if target.server else row.servers
        actions += [project.action("remove_firewall", ("server", number), ("firewall", row.id)) for number in gone]
    return answer(actions)


ROUTES = [
    Route("GET", "/firewalls", every),
    Route("POST", "/firewalls", create),
    Route("GET", "/firewalls/{id}", one),
    Route("PUT", "/firewalls/{id}", replace),
    Route("DELETE", "/firewalls/{id}", delete),
    Route("POST", "/firewalls/{id}/actions/set_rules", set_rules),
    Route("POST", "/firewalls/{id}/actions/apply_to_resources", apply_to),
    Route("POST", "/firewalls/{id}/actions/remove_from_resources", remove_from),
    *action_routes("firewalls", "firewall", lambda call: find(call).id),
]
