"""Prometheus' and Alertmanager's configuration. Pure; no secret stands in either."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from binder_node.errors import InputError, Problem
from binder_node.host.metrics import names
from binder_node.host.metrics.itself import WATCHDOG
from binder_node.host.text import yaml_text
from binder_node.layout import (
    ALERTMANAGER_PORT,
    ETC,
    EXPORTER_PORT,
    MINIO_PORT,
    NAMESPACE,
    PROMETHEUS_PORT,
    PULL_NUMBERS,
    PUSH_NUMBERS,
)
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

FOLDER = ETC / "metrics"
PROMETHEUS, RULES, ALERTMANAGER = (str(FOLDER / name) for name in ("prometheus.yaml", "rules.yaml", "alerts.yaml"))
# What our own program writes there: numbers for node exporter, targets and a token for Prometheus.
MEASURED = "/run/binder-node-measure"
# Seconds between two scrapes; the kubelet's answer is megabytes.
EVERY, SELDOM = 30, 60
# Samples that one scrape may bring: what is more is an error, not a full store.
SAMPLES = 5000
# What `binder-node alerts --test` tells.
TRIAL = "Trial"
# How often somebody is told again of what goes on.
CRITICAL_AGAIN, AGAIN = "2h", "12h"
# What these say themselves follows from what is broken below them.
BELOW = "NodeNotReady|UnitDown"
ABOVE = "ApiDown|HealthFails|NameUnreachable|LaunchesFail|PodsWait|TargetDown|NumbersStale|RegistryDown|ImagePullsFail"


def prometheus_text(spec: Spec) -> bytes:
    """Whom it asks, and where its alerts go."""
    seconds = {"scrape_interval": f"{EVERY}s", "scrape_timeout": "10s", "evaluation_interval": f"{EVERY}s"}
    return yaml_text(
        {
            "global": {**seconds, "sample_limit": SAMPLES, "external_labels": {"node": spec.name}},
            "rule_files": [RULES],
            "alerting": {"alertmanagers": [{"static_configs": [_at(ALERTMANAGER_PORT)]}]},
            "scrape_configs": jobs(spec),
        }
    )


def jobs(spec: Spec) -> list[dict[str, Any]]:
    """Each exporter of the node."""
    own = {"instance": spec.name}
    kubelet = {
        "scheme": "https",
        "scrape_interval": f"{SELDOM}s",
        "authorization": {"credentials_file": f"{MEASURED}/token"},
        # Its certificate names the node; whether it names loopback is K3s's business.
        "tls_config": {"ca_file": f"{MEASURED}/ca.crt", "server_name": spec.name},
        "static_configs": [_at(10250, **own)],
    }
    core = ["__name__", "namespace", "pod"]
    regex = f"({'|'.join(names.CADVISOR)});{NAMESPACE};{names.CORE_PODS}"
    minio = {
        "job_name": "minio",
        "metrics_path": "/minio/v2/metrics/cluster",
        "static_configs": [_at(MINIO_PORT, **own)],
        "metric_relabel_configs": [_keep(*names.MINIO)],
    }
    return [
        {"job_name": "node", "static_configs": [_at(EXPORTER_PORT, **own)]},
        {"job_name": "kubelet", **kubelet, "metric_relabel_configs": [_keep(*names.KUBELET)]},
        {
            "job_name": "cadvisor",
            "metrics_path": "/metrics/cadvisor",
            **kubelet,
            "metric_relabel_configs": [{"source_labels": core, "regex": regex, "action": "keep"}],
        },
        {
            "job_name": "hub",
            "metrics_path": "/hub/metrics",
            "file_sd_configs": [_from("hub")],
            "metric_relabel_configs": [_keep(*names.HUB)],
        },
        {
            "job_name": "binder",
            "file_sd_configs": [_from("binder")],
            "metric_relabel_configs": [_drop(names.BY_REPOSITORY), _drop(names.LIBRARY)],
        },
        {
            "job_name": "registry",
            "static_configs": [_at(PUSH_NUMBERS, **own, role="push"), _at(PULL_NUMBERS, **own, role="pull")],
            "metric_relabel_configs": [_keep(*names.REGISTRY)],
        },
        *([minio] if isinstance(spec.storage, NodeStorage) else []),
        {
            "job_name": "prometheus",
            "static_configs": [_at(PROMETHEUS_PORT, **own)],
            "metric_relabel_configs": [_drop(names.LIBRARY)],
        },
        {
            "job_name": "alertmanager",
            "static_configs": [_at(ALERTMANAGER_PORT, **own)],
            "metric_relabel_configs": [_drop(names.LIBRARY)],
        },
    ]


def _at(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], **({"labels": labels} if labels else {})}


def _from(name: str) -> dict[str, Any]:
    # It is told of changes, but not where the folder was not there when it started.
    return {"files": [f"{MEASURED}/{name}.json"], "refresh_interval": f"{EVERY}s"}


def _keep(*wanted: str) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": "|".join(wanted), "action": "keep"}


def _drop(regex: str) -> dict[str, Any]:
    return {"source_labels": ["__name__"], "regex": regex, "action": "drop"}


# --- who is told -----------------------------------------------------------------------------------------------------


def secret_file(kind: str) -> str:
    """Where a secret part of an address lies on the node."""
    return str(FOLDER / f"{kind}.secret")


def alertmanager_text(spec: Spec) -> bytes:
    """Who is told what, and how often."""
    everybody: dict[str, Any] = {"name": "everybody"}
    if hooks := [{"url_file": secret_file(kind)} for kind in ("webhook", "zulip") if kind in spec.alerts.to]:
        everybody["webhook_configs"] = hooks
    if "mail" in spec.alerts.to:
        everybody["email_configs"] = [_mail(spec)]
    deadman: dict[str, Any] = {"name": "deadman"}
    if spec.alerts.deadman:
        deadman["webhook_configs"] = [{"url_file": secret_file("deadman"), "send_resolved": False}]
    return yaml_text(
        {
            "route": {
                "receiver": "everybody",
                "group_by": ["alertname"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": AGAIN,
                "routes": [
                    {
                        "matchers": [f'alertname="{WATCHDOG}"'],
                        "receiver": "deadman",
                        "group_wait": "0s",
                        "group_interval": "1m",
                        "repeat_interval": "5m",
                    },
                    # Each by itself: in one group the second would wait five minutes.
                    {
                        "matchers": [f'alertname="{TRIAL}"'],
                        "receiver": "everybody",
                        "group_by": ["alertname", "at"],
                        "group_wait": "0s",
                    },
                    {"matchers": ['severity="critical"'], "receiver": "everybody", "repeat_interval": CRITICAL_AGAIN},
                ],
            },
            "inhibit_rules": [
                {"source_matchers": [f'alertname=~"{BELOW}"'], "target_matchers": [f'alertname=~"{ABOVE}"']}
            ],
            "receivers": [everybody, deadman],
        }
    )


def _mail(spec: Spec) -> dict[str, Any]:
    alerts = spec.alerts
    login = {"auth_username": alerts.mail_user, "auth_password_file": secret_file("mail")} if alerts.mail_user else {}
    return {
        "to": ", ".join(alerts.mail_to),
        "from": alerts.mail_from,
        "smarthost": alerts.mail_server,
        "hello": spec.names.binder,
        **login,
        "send_resolved": True,
    }


def needed(spec: Spec) -> list[str]:
    """Kinds of the secrets (``tokens.KIND``) that these ways to tell need."""
    found: list[str] = [kind for kind in ("webhook", "zulip") if kind in spec.alerts.to]
    found += ["mail"] if "mail" in spec.alerts.to and spec.alerts.mail_user else []
    return found + (["deadman"] if spec.alerts.deadman else [])


def secret_texts(spec: Spec, secrets: Secrets) -> dict[str, Masked]:
    """What stands in each secret file, by its kind.

    Raises:
        InputError: a secret is not there, or the URL is none; all of them told.
    """
    problems, found = [], {}
    for kind in needed(spec):
        token = secrets.tokens.get(kind)
        how = f"`binder-node secrets set {spec.name} tokens.{kind}`"
        if token is None:
            right = f"give it by {how}, or change the section `alerts`"
            problems.append(Problem("", 0, f"{spec.name}: alerts", f"there is no tokens.{kind}", right))
        elif kind in ("webhook", "deadman") and not token.reveal().startswith(("https://", "http://")):
            problems.append(Problem("", 0, f"{spec.name}: tokens.{kind}", "is no URL", f"give the whole URL by {how}"))
        else:
            found[kind] = Masked(zulip_url(spec, token)) if kind == "zulip" else token
    if problems:
        raise InputError(*problems)
    return found


def zulip_url(spec: Spec, key: Masked) -> str:
    """Zulip's own integration *Alertmanager*: a topic a node, what is wrong as its text."""
    where = f"{str(spec.alerts.zulip).rstrip('/')}/api/v1/external/alertmanager"
    return (
        f"{where}?api_key={quote(key.reveal())}&stream={quote(spec.alerts.zulip_stream or '')}&name=node&desc=summary"
    )
