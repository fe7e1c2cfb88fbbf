"""Keystone v3: tokens and the catalog. https://docs.openstack.org/api-ref/identity/v3/"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from tests.testbed.openstack.api import Answer, ApiError, Call, Json, Routes
from tests.testbed.openstack.state import PROJECT, USER, Login, State, now

ROUTES = Routes("identity")
WRONG = "The request you have made requires authentication."
SERVICES = {"compute": "/v2.1", "network": "", "image": "", "volume": f"/v3/{PROJECT}"}
TYPES = {"compute": "compute", "network": "network", "image": "image", "volume": "volumev3"}


def version(call: Call) -> Json:
    links = [{"rel": "self", "href": f"{call.state.url}/identity/v3/"}]
    media = [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}]
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links, "media-types": media}


@ROUTES.on("GET", "")
def versions(call: Call) -> Answer:
    return Answer(300, {"versions": {"values": [version(call)]}})


@ROUTES.on("GET", "/v3")
def one_version(call: Call) -> Answer:
    return Answer(200, {"version": version(call)})


@ROUTES.on("POST", "/v3/auth/tokens")
def log_in(call: Call) -> Answer:
    login = _login(call)
    token = secrets.token_urlsafe(32)
    call.state.tokens[token] = login
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    method = "application_credential" if login in call.state.credentials else "password"
    body: Json = {
        "methods": [method],
        "user": {"id": USER, "name": login.name, "domain": {"id": "default", "name": "Default"}},
        "project": {"id": PROJECT, "name": "project", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": role, "name": role} for role in login.roles],
        "audit_ids": [secrets.token_urlsafe(12)],
        "issued_at": now("%Y-%m-%dT%H:%M:%S.000000Z"),
        "expires_at": ends,
        "catalog": catalog(call.state),
    }
    return Answer(201, {"token": body}, {"X-Subject-Token": token})


def _login(call: Call) -> Login:
    identity = call.part("auth").get("identity", {})
    given = identity.get("application_credential")
    if given is not None:
        name, secret, known = given.get("id", ""), given.get("secret", ""), call.state.credentials
    else:
        user = identity.get("password", {}).get("user", {})
        name, secret, known = user.get("name") or user.get("id", ""), user.get("password", ""), call.state.logins
    for login in known:
        if name in (login.name, USER) and secret == login.secret:
            return login
    raise ApiError(401, WRONG)


def catalog(state: State) -> list[Json]:
    """Every service in every region, on one port: its path says which."""
    found = [_service("keystone", "identity", dict.fromkeys(state.regions, f"{state.url}/identity/v3"))]
    for name, path in SERVICES.items():
        urls = {region: f"{state.url}/{name}/{region}{path}" for region in state.regions}
        found.append(_service(name, TYPES[name], urls))
    return found


def _service(name: str, type_: str, urls: dict[str, str]) -> Json:
    endpoints = [
        {"id": f"{name}-{region}", "interface": "public", "region": region, "region_id": region, "url": url}
        for region, url in urls.items()
    ]
    return {"id": name, "name": name, "type": type_, "endpoints": endpoints}


@ROUTES.on("GET", "/v3/auth/catalog")
def show_catalog(call: Call) -> Answer:
    return Answer(200, {"catalog": catalog(call.state), "links": {}})


@ROUTES.on("GET", "/v3/projects/{id}")
def project(call: Call) -> Answer:
    return Answer(200, {"project": {"id": call.id, "name": "project", "domain_id": "default", "enabled": True}})
