"""The files for a federation of one's own say what the redirector takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML

from binder_node.federation.config import parse, read
from binder_node.federation.own import redirector

FOLDER = Path(__file__).parents[2] / "values/own-federation"


def test_the_redirectors_configuration_says_the_same_as_the_values() -> None:
    values = read(FOLDER / "federation.yaml")
    config = parse(redirector(values), "config.json")
    assert replace(config, file="", lines={}) == replace(values, file="", lines={})
    assert json.loads(redirector(values))["check"]["timeout"] == 5


def test_the_manifests_fit_together() -> None:
    made = {item["kind"]: item for item in YAML(typ="safe").load_all((FOLDER / "redirector.yaml").read_text())}
    assert set(made) == {"Namespace", "Deployment", "Service", "Ingress"}
    pod = made["Deployment"]["spec"]["template"]
    assert pod["metadata"]["labels"] == made["Service"]["spec"]["selector"]
    config = pod["spec"]["volumes"][0]["configMap"]["name"]
    assert f"configmap {config} --namespace {made['Namespace']['metadata']['name']}" in (
        (FOLDER / "deploy.sh").read_text()
    )
    [path] = made["Ingress"]["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"]["name"] == made["Service"]["metadata"]["name"]


def test_members_values_are_an_operators_file_over_the_federations() -> None:
    values = YAML(typ="safe").load((FOLDER / "member.yaml").read_text())
    host = json.loads(redirector(read(FOLDER / "federation.yaml")))["hosts"]["first"]["url"]
    assert host.removeprefix("https://first.") == values["config"]["BinderHub"]["badge_base_url"].removeprefix(
        "https://"
    )
