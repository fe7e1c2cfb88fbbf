"""A node for a federation's central deploy: host, bucket and operators' access, and nothing that its chart brings."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from tests.integration.binaries import binary
from tests.integration.test_storage_minio import free_port
from tests.node.harness import Home, make_home

pytestmark = pytest.mark.node
library: Any = kubernetes  # it has no types to speak of

NETWORK, KEY, SECRET = "198.18.83", "registry-of-a-test", "secret-of-a-test"
MORE = """\
deploy: federation
federation: {member: lab}
kubernetes: {api_from: [0.0.0.0/0], operators: [deploy, ada]}
"""


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder, port = tmp_path_factory.mktemp("central"), free_port()
    storage = f"{{kind: s3, endpoint: 'http://127.0.0.1:{port}', bucket: registry}}"
    home = make_home(folder, "central", NETWORK, storage=storage, more=MORE)
    home.inventory.write_text(home.inventory.read_text().replace("mode: none", "mode: acme, email: ops@example.org"))
    environment = {**os.environ, "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    command = [str(binary("minio")), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder / "s3")]
    with pytest.MonkeyPatch.context() as patched, (folder / "minio.log").open("wb") as log:
        patched.setenv("BINDER_NODE_S3_ACCESS_KEY", KEY)
        patched.setenv("BINDER_NODE_S3_SECRET_KEY", SECRET)
        bucket = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            home.up().ok()
            yield home
        finally:
            home.run("destroy", "--yes", home.name).ok()
            bucket.terminate()
            bucket.wait(20)


def operators_kubeconfig(home: Home, name: str, *more: str) -> Path:
    file = home.folder / f"{name}.yaml"
    home.run("kubeconfig", "--operator", name, "--file", str(file), *more).ok()
    assert file.stat().st_mode & 0o777 == 0o600
    return file


def api(file: Path) -> Any:
    return library.config.new_client_from_config(str(file))


def shut_out(file: Path) -> bool:
    """Whether it lets nobody in any more. The API server remembers a token that was right for ten seconds."""
    deadline = time.monotonic() + 20
    while whoami(file) != "401":
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def whoami(file: Path) -> str:
    """Who the API server says that is; or its status code."""
    with api(file) as session:
        try:
            answer = library.client.AuthenticationV1Api(session).create_self_subject_review(
                {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, _request_timeout=10
            )
        except library.client.ApiException as error:
            return str(error.status)
        return str(answer.status.user_info.username)


def test_it_ends_with_operators_access_and_a_second_up_changes_nothing(central: Home) -> None:
    again = central.up().ok()
    assert again.last["data"]["changes"] == 0
    status = json.loads(central.run("status", "-o", "json").ok().out)
    assert {name: stage["ok"] for name, stage in status["stages"].items()} == {
        "machine": True,
        "host": True,
        "storage": True,
        "backup": True,
        "access": True,
    }
    units = central.ssh("systemctl list-unit-files --no-legend 'buildkit*' 'registry-*' 'minio*' | wc -l")
    assert units.strip() == "0"
    pods = central.ssh("k3s kubectl get pods -A -o name")
    assert "coredns" in pods
    assert "traefik" not in pods
    assert "127.0.0.1 registry.central.test" not in central.ssh("cat /etc/hosts")


def test_a_central_deploy_gets_in_as_itself_and_may_do_everything(central: Home) -> None:
    file = operators_kubeconfig(central, "deploy")
    text = file.read_text()
    assert "client-certificate" not in text
    assert "client-key" not in text
    assert f"server: https://{NETWORK}.20:6443" in text
    assert whoami(file) == "system:serviceaccount:binder-node-operators:deploy"
    with api(file) as session:
        core = library.client.CoreV1Api(session)
        core.create_namespace({"metadata": {"name": "lab"}}, _request_timeout=10)
        names = [one.metadata.name for one in core.list_secret_for_all_namespaces(_request_timeout=10).items]
    assert any(name.startswith("deploy-") for name in names)


def test_a_new_token_ends_the_old_one(central: Home) -> None:
    old = operators_kubeconfig(central, "deploy").rename(central.folder / "old.yaml")
    new = operators_kubeconfig(central, "deploy", "--renew")
    assert whoami(new) == "system:serviceaccount:binder-node-operators:deploy"
    assert shut_out(old)


def test_who_is_taken_out_of_the_inventory_gets_in_no_more(central: Home) -> None:
    file = operators_kubeconfig(central, "ada")
    assert whoami(file).endswith(":ada")
    before = central.inventory.read_text()
    central.inventory.write_text(before.replace("operators: [deploy, ada]", "operators: [deploy]"))
    try:
        planned = json.loads(central.run("plan", "-o", "json").ok().out)
        whats = [f"{change['action']} {change['what']}" for stage in planned["stages"] for change in stage["changes"]]
        assert whats == ["delete access of operator ada"]
        central.up().ok()
        with api(file) as session, pytest.raises(library.client.ApiException) as refused_at_once:
            library.client.CoreV1Api(session).list_namespace(_request_timeout=10)
        assert refused_at_once.value.status in (401, 403)
        assert shut_out(file)
        refused = central.run("kubeconfig", "--operator", "ada")
        assert refused.code == 2
        assert "ada is no operator of this node" in refused.err
    finally:
        central.inventory.write_text(before)
        central.up().ok()
    gone = file.rename(central.folder / "gone.yaml")
    assert whoami(operators_kubeconfig(central, "ada")).endswith(":ada")
    assert whoami(gone) == "401"  # back in, and yet not with the old token
