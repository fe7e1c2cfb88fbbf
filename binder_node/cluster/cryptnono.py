"""cryptnono, which ends processes that mine or scan: its chart, pinned, for K3s's own helm-controller. Pure.

It is not needed for cutting scans (host/limits.py): it sees what a pod's processes are, where the firewall sees
packets. Its values were read in the chart's repository, not run: it needs eBPF and its images.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from binder_node.cluster.dump import yaml_stream
from binder_node.layout import CONTAINERD_SOCKET, NAMESPACE

NAME = "cryptnono"
# The name of the chart's pin.
CHART = "cryptnono-chart"
# K3s's helm-controller looks for charts in every namespace; K3s's own are here.
CONTROLLER_NAMESPACE = "kube-system"
# What the federation found between scans, and installers and browsers: the chart's own 15 killed those, too
# (mybinder.org-deploy 95860dbc, mybinder/values.yaml).
DESTINATIONS = 24
# As BinderHub tells a session whose it is; as the federation has them logged.
TOLD = ("BINDER_CLIENT_IP", "BINDER_REF_URL")


def cryptnono_values(priority: str) -> dict[str, Any]:
    """Values of its chart: the federation's (mybinder.org-deploy 95860dbc, mybinder/values.yaml), but for a Docker
    daemon, a Prometheus and a list of addresses, which a node has not, or its firewall has. ``priority`` is the class
    of core pods."""
    containers = {"containerdHostPath": str(CONTAINERD_SOCKET), "dockerHostPath": ""}
    return {
        "detectors": {
            "execwhacker": {"enabled": True, **containers, "lookupEnvs": list(TOLD)},
            "monero": {"enabled": True},
            "tcpflowkiller": {
                "enabled": True,
                **containers,
                "config": {
                    "FlowKiller": {"unique_destinations_threshold": DESTINATIONS, "log_container_envs": list(TOLD)}
                },
            },
        },
        "metrics": {"enabled": False},
        "priorityClassName": priority,
    }


def cryptnono_chart(chart: bytes, version: str, priority: str, labels: dict[str, str]) -> dict[str, Any]:
    """The object that has K3s install it: the chart itself is in it, so that nothing but what was pinned is installed,
    and nothing is fetched. Taken out of K3s's manifests, K3s takes the release away."""
    from ruamel.yaml.scalarstring import LiteralScalarString

    return {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChart",
        "metadata": {
            "name": NAME,
            "namespace": CONTROLLER_NAMESPACE,
            "labels": labels,
            "annotations": {"binder-node/version": version},
        },
        "spec": {
            "chartContent": b64encode(chart).decode(),
            # Where pods may be privileged.
            "targetNamespace": NAMESPACE,
            "valuesContent": LiteralScalarString(yaml_stream([cryptnono_values(priority)])),
            # It has no state: one whose install failed is made anew.
            "failurePolicy": "reinstall",
        },
    }
