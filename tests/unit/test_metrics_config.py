"""Whom Prometheus asks, whom Alertmanager tells, and that no secret stands where it could be read."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.errors import InputError
from binder_node.host.metrics.config import alertmanager_text, prometheus_text, secret_texts, zulip_url
from binder_node.secrets.masked import Masked
from tests.unit.host_samples import other_spec, sample_secrets, sample_spec, sample_wanted
from tests.unit.metrics_samples import whole_spec

SECRETS = sample_secrets().model_copy(
    update={
        "tokens": {
            "webhook": Masked("https://chat.example.org/hook/secret-hook"),
            "mail": Masked("secret mail"),
            "zulip": Masked("secret+zulip"),
            "deadman": Masked("https://hc.example.org/secret-ping"),
        }
    }
)


def loaded(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(text.decode())
    return found


def test_a_node_asks_its_own_exporters() -> None:
    jobs = {job["job_name"]: job for job in loaded(prometheus_text(sample_spec()))["scrape_configs"]}
    assert list(jobs) == [
        "node", "kubelet", "cadvisor", "hub", "binder", "registry", "minio", "prometheus", "alertmanager",
    ]  # fmt: skip
    assert [one["targets"] for one in jobs["registry"]["static_configs"]] == [["127.0.0.1:5003"], ["127.0.0.1:5004"]]
    assert jobs["kubelet"]["authorization"] == {"credentials_file": "/run/binder-node-measure/token"}
    files = {"files": ["/run/binder-node-measure/hub.json"], "refresh_interval": "30s"}
    assert jobs["hub"]["file_sd_configs"] == [files]
    for job in jobs.values():
        for place in job.get("static_configs", []):
            assert all(target.startswith("127.0.0.1:") for target in place["targets"])


def test_without_its_own_bucket_nobody_asks_minio() -> None:
    assert "minio" not in [job["job_name"] for job in loaded(prometheus_text(other_spec()))["scrape_configs"]]


def test_every_job_is_bounded() -> None:
    """A name with a repository, a user or a request for a label would grow with each launch."""
    found = loaded(prometheus_text(sample_spec()))
    assert found["global"]["sample_limit"] == 5000
    free = [job["job_name"] for job in found["scrape_configs"] if "metric_relabel_configs" not in job]
    assert free == ["node"]


def test_everybody_is_told_in_every_way_and_the_switch_alone_of_life() -> None:
    found = loaded(alertmanager_text(whole_spec()))
    everybody, deadman = found["receivers"]
    assert everybody["webhook_configs"] == [
        {"url_file": "/etc/binder-node/metrics/webhook.secret"},
        {"url_file": "/etc/binder-node/metrics/zulip.secret"},
    ]
    assert everybody["email_configs"] == [
        {
            "to": "ada@example.org, ops@example.org",
            "from": "bids-1@example.org",
            "smarthost": "smtp.example.org:587",
            "hello": "bids.example.org",
            "auth_username": "bids",
            "auth_password_file": "/etc/binder-node/metrics/mail.secret",
            "send_resolved": True,
        }
    ]
    assert deadman["webhook_configs"] == [
        {"url_file": "/etc/binder-node/metrics/deadman.secret", "send_resolved": False}
    ]
    route = found["route"]["routes"][0]
    assert (route["matchers"], route["receiver"]) == (['alertname="Watchdog"'], "deadman")


def test_by_default_nobody_is_told() -> None:
    found = loaded(alertmanager_text(sample_spec()))
    assert found["receivers"] == [{"name": "everybody"}, {"name": "deadman"}]


def test_secrets_stand_in_files_of_their_own_alone() -> None:
    spec = whole_spec()
    texts = secret_texts(spec, SECRETS)
    assert {kind: text.reveal() for kind, text in texts.items()} == {
        "webhook": "https://chat.example.org/hook/secret-hook",
        "zulip": "https://example.zulipchat.com/api/v1/external/alertmanager?api_key=secret%2Bzulip"
        "&stream=binder%20alerts&name=node&desc=summary",
        "mail": "secret mail",
        "deadman": "https://hc.example.org/secret-ping",
    }
    assert zulip_url(spec, Masked("a")).startswith("https://example.zulipchat.com/api/")
    assert b"secret-" not in alertmanager_text(spec) + prometheus_text(spec)


def test_a_way_without_its_secret_is_told_with_all_others() -> None:
    with pytest.raises(InputError) as caught:
        secret_texts(whole_spec(), sample_secrets())
    said = [str(problem) for problem in caught.value.problems]
    assert [line.split("tokens.")[1].split(";")[0].split(" ")[0] for line in said] == [
        "webhook",
        "zulip",
        "mail",
        "deadman",
    ]
    wrong = SECRETS.model_copy(update={"tokens": {**SECRETS.tokens, "webhook": Masked("chat.example.org")}})
    with pytest.raises(InputError, match="is no URL"):
        secret_texts(whole_spec(), wrong)


def test_a_mail_server_without_a_login_needs_no_secret() -> None:
    spec = sample_spec(
        alerts={"to": ["mail"], "mail_to": ["a@b.cd"], "mail_from": "b@b.cd", "mail_server": "smtp.b.cd:25"}
    )
    assert secret_texts(spec, sample_secrets()) == {}


def test_the_store_is_bounded_by_the_inventory() -> None:
    spec = sample_spec(metrics={"keep": 7, "disk": "300M", "memory": "400M"})
    units = {unit.name: unit.content or "" for unit in sample_wanted(spec).component("metrics").units}
    prometheus = units["binder-node-prometheus.service"]
    assert "--storage.tsdb.retention.time=7d " in prometheus
    assert "--storage.tsdb.retention.size=300000000B " in prometheus
    assert "\nMemoryMax=400000000\n" in prometheus
    assert "\nEnvironment=GOMEMLIMIT=320000000\n" in prometheus


def test_what_measures_listens_on_loopback_alone() -> None:
    units = sample_wanted().component("metrics").units
    texts = [unit.content or "" for unit in units]
    assert sum("--web.listen-address=127.0.0.1:" in text for text in texts) == 3
    assert all("listen-address=0.0.0.0" not in text and "listen-address=:" not in text for text in texts)


def test_every_unit_that_is_to_run_is_watched() -> None:
    wanted = sample_wanted()
    [asked] = [file for file in wanted.component("metrics").files if file.path.endswith("measure.json")]
    watched = set(loaded(asked.content)["units"])
    assert {"k3s.service", "buildkit.service", "minio.service", "binder-node-backup.timer"} <= watched
    assert "binder-node-swapoff.service" not in watched
    assert "binder-node-backup.service" not in watched
