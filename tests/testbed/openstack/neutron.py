"""Neutron v2.0: networks, ports, security groups, floating addresses. https://docs.openstack.org/api-ref/network/v2/"""

from __future__ import annotations

import secrets
from ipaddress import IPv4Network

from tests.testbed.openstack.api import Answer, ApiError, Call, Json, Routes, page
from tests.testbed.openstack.state import PROJECT, Region, Row, new_id, now

ROUTES = Routes("network")
SIMPLE = ("id", "name", "description", "status", "device_id", "network_id", "port_id", "project_id")


def document(call: Call) -> Json:
    links = [{"rel": "self", "href": f"{call.state.url}/network/{call.region.name}/v2.0/"}]
    return {"id": "v2.0", "status": "CURRENT", "links": links}


@ROUTES.on("GET", "")
def versions(call: Call) -> Answer:
    return Answer(200, {"versions": [document(call)]})


@ROUTES.on("GET", "/v2.0")
def resources(call: Call) -> Answer:
    del call
    return Answer(200, {"resources": []})


@ROUTES.on("GET", "/v2.0/extensions")
def extensions(call: Call) -> Answer:
    del call
    return Answer(200, {"extensions": [{"alias": alias, "name": alias} for alias in ("router", "security-group")]})


@ROUTES.on("GET", "/v2.0/extensions/{id}")
def extension(call: Call) -> Answer:
    raise ApiError(404, f"Extension with alias {call.id} does not exist", "ExtensionNotFound")


def _listing(path: str, table: str, key: str) -> None:
    single = {"ips": "floatingip"}.get(table, key.removesuffix("s"))

    @ROUTES.on("GET", f"/v2.0/{path}")
    def some(call: Call) -> Answer:
        return page(call, key, call.region.table(table).values(), *SIMPLE, forced=False)

    @ROUTES.on("GET", f"/v2.0/{path}/{{id}}")
    def one(call: Call) -> Answer:
        return Answer(200, {single: call.row(table)})


for _path, _table in (("networks", "networks"), ("subnets", "subnets"), ("ports", "ports"), ("floatingips", "ips")):
    _listing(_path, _table, _path)
_listing("security-groups", "groups", "security_groups")


def _standard(given: Json) -> Row:
    """What Neutron gives everything: its times, a description, an owner."""
    common = {"project_id": PROJECT, "tenant_id": PROJECT, "created_at": now(), "updated_at": now(), "tags": []}
    return {"id": new_id(), **common, "description": given.get("description", ""), "revision_number": 1}


def _room(region: Region, table: str, what: str) -> None:
    mine = [row for row in region.table(table).values() if row["project_id"] == PROJECT]
    if len(mine) >= region.quota[table]:
        raise ApiError(409, f"Quota exceeded for resources: ['{what}'].", "OverQuota")


def _free(region: Region, network: str) -> str:
    """The next address of a network that nobody has."""
    subnet = next(row for row in region.subnets.values() if row["network_id"] == network)
    taken = {one["ip_address"] for port in region.ports.values() for one in port["fixed_ips"]}
    taken |= {ip["floating_ip_address"] for ip in region.ips.values()} | {subnet["gateway_ip"]}
    for address in IPv4Network(subnet["cidr"]).hosts():
        if str(address) not in taken:
            return str(address)
    raise ApiError(409, f"No more IP addresses available on network {network}.", "IpAddressGenerationFailure")


@ROUTES.on("POST", "/v2.0/ports")
def create_port(call: Call) -> Answer:
    given, region = call.part("port"), call.region
    network = region.networks.get(str(given.get("network_id")))
    if network is None:
        raise ApiError(404, f"Network {given.get('network_id')} could not be found.", "NetworkNotFound")
    _room(region, "ports", "port")
    groups = given.get("security_groups", [])
    for id_ in groups:
        call.row("groups", id_)
    row = _standard(given) | {
        "name": given.get("name", ""), "network_id": network["id"], "admin_state_up": True, "status": "DOWN",
        "device_id": "", "device_owner": "", "security_groups": list(groups), "allowed_address_pairs": [],
        "mac_address": "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3)),
        "fixed_ips": [{"subnet_id": network["subnets"][0], "ip_address": _free(region, network["id"])}],
    }  # fmt: skip
    region.ports[row["id"]] = row
    return Answer(201, {"port": row})


@ROUTES.on("PUT", "/v2.0/ports/{id}")
def update_port(call: Call) -> Answer:
    return Answer(200, {"port": _update(call, "ports", "port", ("name", "description", "security_groups"))})


def _update(call: Call, table: str, key: str, allowed: tuple[str, ...]) -> Row:
    row, given = call.row(table), call.part(key)
    if unknown := set(given) - set(allowed):
        raise ApiError(400, f"Unrecognized attribute(s) '{', '.join(sorted(unknown))}'", "HTTPBadRequest")
    row.update(given, updated_at=now())
    return row


@ROUTES.on("DELETE", "/v2.0/ports/{id}")
def delete_port(call: Call) -> Answer:
    port = call.row("ports")
    for ip in call.region.ips.values():
        if ip["port_id"] == port["id"]:
            ip["port_id"], ip["fixed_ip_address"], ip["status"] = None, None, "DOWN"
    del call.region.ports[port["id"]]
    return Answer(204)


@ROUTES.on("POST", "/v2.0/security-groups")
def create_group(call: Call) -> Answer:
    given = call.part("security_group")
    _room(call.region, "groups", "security_group")
    row = _standard(given) | {"name": given.get("name", ""), "stateful": True, "shared": False}
    row["security_group_rules"] = [_rule(row["id"], {"direction": "egress", "ethertype": v}) for v in ("IPv4", "IPv6")]
    call.region.groups[row["id"]] = row
    return Answer(201, {"security_group": row})


RULE_KEYS = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix")


def _rule(group: str, given: Json) -> Row:
    values = {key: given.get(key) for key in RULE_KEYS}
    return _standard(given) | values | {"security_group_id": group, "remote_group_id": None}


@ROUTES.on("POST", "/v2.0/security-group-rules")
def create_rule(call: Call) -> Answer:
    given = call.part("security_group_rule")
    group = call.row("groups", str(given.get("security_group_id")))
    row = _rule(group["id"], given)
    for other in group["security_group_rules"]:
        if all(other[key] == row[key] for key in RULE_KEYS):
            raise ApiError(
                409, f"Security group rule already exists. Rule id is {other['id']}.", "SecurityGroupRuleExists"
            )
    group["security_group_rules"].append(row)
    return Answer(201, {"security_group_rule": row})


@ROUTES.on("GET", "/v2.0/security-group-rules")
def rules(call: Call) -> Answer:
    rows = [rule for group in call.region.groups.values() for rule in group["security_group_rules"]]
    return page(call, "security_group_rules", rows, "security_group_id", "direction", forced=False)


@ROUTES.on("DELETE", "/v2.0/security-group-rules/{id}")
def delete_rule(call: Call) -> Answer:
    for group in call.region.groups.values():
        for rule in group["security_group_rules"]:
            if rule["id"] == call.id:
                group["security_group_rules"].remove(rule)
                return Answer(204)
    raise ApiError(404, f"Security group rule {call.id} does not exist", "SecurityGroupRuleNotFound")


@ROUTES.on("DELETE", "/v2.0/security-groups/{id}")
def delete_group(call: Call) -> Answer:
    group = call.row("groups")
    if any(group["id"] in port["security_groups"] for port in call.region.ports.values()):
        raise ApiError(409, f"Security Group {group['id']} in use.", "SecurityGroupInUse")
    del call.region.groups[group["id"]]
    return Answer(204)


@ROUTES.on("POST", "/v2.0/floatingips")
def create_ip(call: Call) -> Answer:
    given, region = call.part("floatingip"), call.region
    network = region.networks.get(str(given.get("floating_network_id")))
    if network is None or not network["router:external"]:
        raise ApiError(400, f"Network {given.get('floating_network_id')} is not external", "BadRequest")
    _room(region, "ips", "floatingip")
    row = _standard(given) | {
        "floating_network_id": network["id"], "floating_ip_address": _free(region, network["id"]), "port_id": None,
        "fixed_ip_address": None, "router_id": None, "status": "DOWN",
    }  # fmt: skip
    region.ips[row["id"]] = row
    _lead(call, row, given.get("port_id"))
    return Answer(201, {"floatingip": row})


def _lead(call: Call, row: Row, port: str | None) -> None:
    row["port_id"], row["fixed_ip_address"], row["status"] = None, None, "DOWN"
    if port:
        there = call.row("ports", port)
        row["port_id"], row["fixed_ip_address"], row["status"] = port, there["fixed_ips"][0]["ip_address"], "ACTIVE"


@ROUTES.on("PUT", "/v2.0/floatingips/{id}")
def update_ip(call: Call) -> Answer:
    row, given = call.row("ips"), call.part("floatingip")
    if "port_id" in given:
        _lead(call, row, given["port_id"])
    row["description"] = given.get("description", row["description"])
    return Answer(200, {"floatingip": row})


@ROUTES.on("DELETE", "/v2.0/floatingips/{id}")
def delete_ip(call: Call) -> Answer:
    call.row("ips")
    del call.region.ips[call.id]
    return Answer(204)
