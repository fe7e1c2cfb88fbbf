"""The files of a member that its federation deploys centrally, from the Spec: as mybinder.org has them. Pure.

Its chart brings Traefik, cert-manager, Prometheus, Grafana, Harbor and the Docker daemon that builds; what is here is
what the chart cannot know. docs/reference/exported-files.md tells every difference from the members there are.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from binder_node.spec.model import S3Storage, Session, Spec
from binder_node.spec.sizing import GB

Values = dict[str, Any]
GIB = 2**30
# The builder's share: BIDS gives 16 GiB of 92 GB and 8 of 24 cores, the others as much of more
# (mybinder.org-deploy, config/); it asks for three quarters of that memory, and for half of the cores.
BUILDER_SHARE, BUILDER_MOST, BUILDER_CPUS = 3 / 16, 16 * GIB, 8
# Prometheus keeps 90 days: 50 GiB on 901 GiB (Hetzner's members), 20 GiB on 500 GB (BIDS).
METRICS_SHARE, METRICS_MOST, METRICS_LEAST = 1 / 20, 50, 10
# Where Harbor's images lie in the bucket, and the Harbor project of builds.
HARBOR_ROOT, PROJECT = "harbor", "mybinder-builds"
PER_REPO = 100


def export(spec: Spec, kubelet: str, k3s: str) -> dict[str, str]:
    """Every file by its path in the checkout. ``kubelet`` is the kubelet's configuration as it is on the node, ``k3s``
    its version, like ``v1.35.8+k3s1``. None of them holds a secret.
    """
    name = spec.federation.member
    made = f"Made by `binder-node federation export {spec.name}` from its inventory: change that, and export again."
    return {
        f"config/{name}.yaml": _text(values(spec), made),
        f"config/k3s/{name}-kubelet.yaml": f"# {made}\n# `up` keeps it on the node.\n{kubelet}",
        f"config/k3s/{name}-upgrade-plan.yaml": _text(plan(k3s), f"{made}\nThe version is the one that `up` keeps."),
        template_path(name): template(spec),
    }


def template_path(name: str) -> str:
    """Where the member's secrets are to be written; under this ending the central deploy does not read them."""
    return f"secrets/config/{name}.yaml.template"


def values(spec: Spec) -> Values:
    """The member's own values for the federation's chart."""
    name, binder = spec.federation.member, spec.names.binder
    grafana, prometheus, static = (f"{what}.{binder}" for what in ("grafana", "prometheus", "static"))
    return {
        "projectName": name,
        "harbor": _harbor(spec),
        "binderhub": _binderhub(spec),
        "buildkitPruner": {"buildkitCacheSize": f"{int(spec.buildkit.cache) // GB}GB"},
        "grafana": {
            "ingress": {"hosts": [grafana], "tls": [{"hosts": [grafana], "secretName": "kubelego-tls-grafana"}]},
            "datasources": {"datasources.yaml": _sources(prometheus)},
        },
        "prometheus": {
            "server": {
                "persistentVolume": {"size": f"{_metrics(spec)}Gi"},
                "ingress": {
                    "hosts": [prometheus],
                    "tls": [{"hosts": [prometheus], "secretName": "kubelego-tls-prometheus"}],
                },
            },
            "extraScrapeConfigs": LiteralScalarString(_scraped(name)),
        },
        "static": {"ingress": {"hosts": [static], "tls": {"secretName": "kubelego-tls-static"}}},
    }


def _harbor(spec: Spec) -> Values:
    storage = spec.storage
    assert isinstance(storage, S3Storage), "a rule of the Spec"
    return {
        "enabled": True,
        "expose": {"ingress": {"hosts": {"core": spec.names.registry}}},
        "persistence": {
            "imageChartStorage": {
                "s3": {
                    "region": storage.region,
                    "bucket": storage.bucket,
                    "regionendpoint": storage.endpoint,
                    "rootdirectory": HARBOR_ROOT,
                }
            }
        },
    }


def _binderhub(spec: Spec) -> Values:
    hub, said = spec.names.hub, spec.binderhub
    binder: Values = {
        "hub_url": f"https://{hub}",
        "badge_base_url": "https://mybinder.org",
        "sticky_builds": True,
        "image_prefix": f"{spec.names.registry}/{PROJECT}/i-",
    }
    if said.per_repo_quota != PER_REPO:
        binder["per_repo_quota"] = said.per_repo_quota
    if said.banner:
        binder["banner_message"] = said.banner
    return {
        "config": {
            "BinderHub": binder,
            "KubernetesBuildExecutor": {"docker_host": "/var/run/dind/docker.sock"},
            "LaunchQuota": {"total_quota": said.quota},
        },
        "replicas": said.replicas,
        # Launches go to the public archive: its key is among the secrets (eventsArchiver.serviceAccountKey).
        "extraVolumes": [{"name": "secrets", "secret": {"secretName": "events-archiver-secrets"}}],
        "extraVolumeMounts": [{"name": "secrets", "mountPath": "/secrets", "readOnly": True}],
        "extraEnv": {"GOOGLE_APPLICATION_CREDENTIALS": "/secrets/service-account.json"},
        "dind": {"hostLibDir": f"{spec.machine.state}/dind", "resources": _builder(spec)},
        "ingress": {"hosts": [spec.names.binder]},
        "jupyterhub": {
            "ingress": {"hosts": [hub], "tls": [{"secretName": "kubelego-tls-hub", "hosts": [hub]}]},
            **_session(said.session),
        },
        # The chart's pruner of the builder does its work.
        "imageCleaner": {"enabled": False},
    }


def _session(session: Session) -> Values:
    """What a user gets, where the inventory says other than the federation's chart."""
    if session == Session():
        return {}
    return {
        "singleuser": {
            # Bytes: JupyterHub reads `450M` as 450 x 1024 x 1024.
            "memory": {"guarantee": int(session.memory_guarantee), "limit": int(session.memory_limit)},
            "cpu": {"guarantee": session.cpu_guarantee, "limit": session.cpu_limit},
        }
    }


def _builder(spec: Spec) -> Values:
    """Requests and limits of the Docker daemon that builds."""
    limit = min(BUILDER_MOST, int(spec.machine.memory * BUILDER_SHARE))
    cpus = max(2, min(BUILDER_CPUS, spec.machine.cpus // 3))
    return {
        "requests": {"cpu": str(cpus // 2), "memory": _memory(limit * 3 // 4)},
        "limits": {"cpu": str(cpus), "memory": _memory(limit)},
    }


def _memory(size: int) -> str:
    """Whole GiB where there is one, whole MiB below."""
    return f"{size // GIB}Gi" if size >= GIB else f"{size // 2**20}Mi"


def _metrics(spec: Spec) -> int:
    return max(METRICS_LEAST, min(METRICS_MOST, int(spec.state_disk * METRICS_SHARE) // GB))


def _sources(prometheus: str) -> Values:
    source = {
        "name": "prometheus",
        "orgId": 1,
        "type": "prometheus",
        "url": f"https://{prometheus}",
        "access": "direct",
        "isDefault": True,
        "editable": False,
    }
    return {"apiVersion": 1, "datasources": [source]}


def _scraped(name: str) -> str:
    return "".join(
        f"- job_name: 'harbor-{part}'\n  static_configs:\n    - targets:\n        - {name}-harbor-{part}:8001\n"
        for part in ("exporter", "registry", "jobservice")
    )


def plan(k3s: str) -> Values:
    """What the system-upgrade-controller may do: nothing but hold the version that the pins say."""
    return {
        "apiVersion": "upgrade.cattle.io/v1",
        "kind": "Plan",
        "metadata": {"name": "upgrade-plan", "namespace": "system-upgrade"},
        "spec": {
            "concurrency": 1,
            "cordon": False,
            "serviceAccountName": "system-upgrade",
            "upgrade": {"image": "rancher/k3s-upgrade"},
            "version": k3s,
            "nodeSelector": {"matchLabels": {"node.kubernetes.io/instance-type": "k3s"}},
            "window": {"days": ["sunday"], "startTime": "00:00", "endTime": "02:00", "timeZone": "UTC"},
        },
    }


def template(spec: Spec) -> str:
    """The keys of the member's secrets, each with where its value comes from, and no value."""
    name = spec.federation.member
    return TEMPLATE.format(name=name, node=spec.name)


TEMPLATE = """\
# The secrets of {name}: fill in every value, save the file as {name}.yaml beside this one, and remove this one.
# `git-crypt status secrets/config/{name}.yaml` must say `encrypted` before you commit it.
# The deploy's kubeconfig is a file of its own:
#   binder-node kubeconfig {node} --operator NAME --file secrets/{name}-kubeconfig.yaml
binderhub:
  registry:
    # The robot account that pushes: `tofu output --show-sensitive` after Harbor's configuration.
    username:
    password:
  jupyterhub:
    imagePullSecret:
      # The robot account that pulls, from the same.
      username:
      password:
eventsArchiver:
  # `terraform output events_archiver_keys` in terraform/gcp/prod.
  serviceAccountKey:
grafana:
  # openssl rand -hex 32
  adminPassword:
harbor:
  # openssl rand -hex 32
  harborAdminPassword:
  persistence:
    imageChartStorage:
      s3:
        # A key for this bucket alone: the one that `up` was given.
        accesskey:
        secretkey:
  # From the first deploy on, so that later ones restart nothing: docs/source/deployment/k3s.md,
  # "Stabilize Harbor secrets to avoid churn".
  core:
    secret:
    xsrfKey:
    tokenKey:
    tokenCert:
  jobservice:
    secret:
  registry:
    secret:
    credentials:
      password:
      htpasswdString:
"""


def _text(document: Values, remark: str) -> str:
    """Block YAML with a remark at its head, lists indented as the federation's are."""
    yaml, out = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, out)
    return "".join(f"# {line}\n" for line in remark.splitlines()) + out.getvalue()
