"""The stage ``release``: BinderHub and its JupyterHub as one Helm release, up to the first answer of ``/health``."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from binder_node import remote
from binder_node.artifacts.model import Artifact
from binder_node.changes import Change
from binder_node.cluster import acme, diff, kube, served, tls, values
from binder_node.cluster.helm import Helm, masked
from binder_node.cluster.look import Revision, Seen, look
from binder_node.cluster.waits import STAGE, Waiter
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.layout import NAMESPACE, RELEASE
from binder_node.node import Access, Node

CHART, HELM = "binderhub-chart", "helm"
# K3s applies the namespace within seconds of its start.
NAMESPACE_SECONDS = 60.0
# Somebody else's Helm may be at it: its upgrades take seconds, since it waits for nothing.
PENDING_SECONDS = 20.0
# BinderHub asks the registry and the hub anew every few seconds; both are up by now.
HEALTH_SECONDS = 120.0
# One answer of it; a moment after a rollout some request may still be on its way to a pod that has gone.
ANSWER_SECONDS = 3.0
# As whom a trial writes does not matter: it is not kept. What Helm owns may be taken over for that.
TRIAL = "--dry-run=server --server-side --force-conflicts --field-manager=binder-node"
TRIAL_SECONDS = 60.0
# Deployments of the chart without which there is no BinderHub.
NEEDED = ("binder", "hub", "proxy")


@dataclass
class ReleaseStage:
    """``address`` is the machine's public one, empty while there is none."""

    node: Node
    access: Access | None
    address: str
    name: str = field(default=STAGE)

    @cached_property
    def files(self) -> Mapping[str, values.Values]:
        return values.read(self.node.spec)

    @cached_property
    def composed(self) -> values.Composed:
        """The values, with the layer of each; secrets masked."""
        return values.compose(self.node, self.address, self.files)

    @cached_property
    def certificate(self) -> tls.Certificate | None:
        return tls.certificate(self.node.spec)

    @cached_property
    def digest(self) -> str:
        """Of everything that makes the release: 40 hex digits (a label holds 63). Secrets in it are long and random,
        and it stands beside Helm's own record, which holds the values."""
        made = json.dumps(values.revealed(self.composed.values), sort_keys=True)
        return hashlib.sha256(f"{self._chart.sha256}\n{made}".encode()).hexdigest()[:40]

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return tls.trust(self.node.spec)

    def _served(self) -> list[served.Served]:
        return served.look(self.node.spec, self.address, self._trust)

    @property
    def _chart(self) -> Artifact:
        return self.node.artifacts[CHART]

    # --- looking ---------------------------------------------------------------------------------------------------

    def nothing(self) -> Seen:
        return Seen()

    def inspect(self, report: Reporter) -> Seen:
        """One round trip; only where chart or values are others than deployed, Helm tells what that would change.

        Raises:
            StepError: the node does not answer, or the chart or the API server refuses the values.
        """
        access = self._reached()
        found = look(access)
        del report
        if self.node.spec.tls.mode == "acme" and found.current is not None:
            found = replace(found, untrusted=tuple(acme.missing(self._served())))
        current, deployed = found.current, found.deployed
        # Over a revision that is pending Helm does not even render.
        if current is None or current.pending or deployed is None or deployed.digest == self.digest:
            return found
        with kube.reached(access, self.node.runtime) as cluster:
            helm = self._helm(cluster)
            new = helm.rendered(self._chart.path, self.composed.values)
            objects, old = helm.deployed(deployed.number)
        values_diff = diff.values_diff(old, self.composed.values, self.composed.provenance)
        differences = [
            (action, name, masked(text, old, self.composed.values))
            for action, name, text in diff.differences(objects, new)
        ]
        return replace(found, values=values_diff, differences=tuple(differences))

    def changes(self, seen: Seen) -> list[Change]:
        found = []
        wanted = self.certificate.digest if self.certificate else ""
        if wanted and wanted != seen.certificate:
            found.append(Change(STAGE, "update" if seen.certificate else "create", f"certificate {values.TLS_SECRET}"))
        current = seen.current
        if current is None or not self._done(current):
            found += self._release_changes(seen)
        elif late := [*self._late(seen), *(f"a certificate of {item.name}" for item in seen.untrusted)]:
            found.append(Change(STAGE, "run", f"wait for {', '.join(late)}"))
        return found

    def _done(self, revision: Revision) -> bool:
        return revision.status == "deployed" and revision.digest == self.digest

    def _late(self, seen: Seen) -> list[str]:
        there = {item.name for item in seen.workloads}
        return [str(item) for item in seen.workloads if not item.ok] + [n for n in NEEDED if n not in there]

    def _release_changes(self, seen: Seen) -> list[Change]:
        what = f"release {RELEASE} (BinderHub chart {self._chart.version})"
        if seen.current is None:
            return [Change(STAGE, "create", what, diff.values_diff({}, self.composed.values, self.composed.provenance))]
        whole = [
            Change(STAGE, "update", f"{what}, revision {seen.current.number} is {seen.current.status}", seen.values)
        ]
        objects: dict[str, Any] = {"create": "create", "update": "update", "delete": "delete"}
        return whole + [Change(STAGE, objects[action], name, text) for action, name, text in seen.differences]

    # --- doing -----------------------------------------------------------------------------------------------------

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Try the release on the API server, make it, wait for its pods, ask BinderHub how it is.

        Raises:
            StepError: a step failed; the same call goes on from there.
            DeadlineError: pods or BinderHub did not come up in time.
        """
        with kube.reached(self._reached(), self.node.runtime) as cluster, kube.client(cluster) as api:
            self._await_namespace(api)
            self._put_certificate(api, seen)
            current = seen.current
            if current is None or not self._done(current):
                self._upgrade(self._helm(cluster), api, report)
            with step(report, STAGE, "wait for the release's pods"):
                Waiter(self.node.spec.name, api, self._masked).until_ready(NEEDED, report)
        if self.node.spec.tls.mode == "acme":
            # Ordered in an earlier run and not had: Traefik shows one of its own making, and nothing else is to do.
            done = seen.current is not None and self._done(seen.current)
            again = done and any(item.days is not None for item in seen.untrusted)
            acme.wait(self.node.spec, self._reached(), self.address, self._trust, report, again=again)
        self._await_health(report)

    def _upgrade(self, helm: Helm, api: Any, report: Reporter) -> None:
        fresh = self._clear(api, report)
        chart, made = self._chart.path, self.composed.values
        with step(report, STAGE, "try the release on the API server"):
            self._try(helm.rendered(chart, made))
        with step(report, STAGE, f"install BinderHub chart {self._chart.version}"):
            try:
                helm.upgrade(chart, made, self.digest)
            except StepError:
                if fresh:
                    helm.uninstall()
                raise

    def _clear(self, api: Any, report: Reporter) -> bool:
        """Forget a revision at which Helm was killed, once it is sure that nobody is still at it; whether the release
        is a first one. What the killed Helm had made carries its mark, and the next revision takes it over."""
        deadline = time.monotonic() + PENDING_SECONDS
        while True:
            seen = look(self._reached())
            current = seen.current
            if current is None or not current.pending:
                break
            if time.monotonic() > deadline:
                report(Event("warn", STAGE, f"revision {current.number} was left {current.status}: forgotten"))
                self._core(api).delete_namespaced_secret(
                    f"sh.helm.release.v1.{RELEASE}.v{current.number}", NAMESPACE, _request_timeout=kube.TIMEOUT
                )
                continue
            time.sleep(1)
        return seen.deployed is None

    def _try(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Let the API server check every object with all its admission rules, and keep none: Helm's own trial only
        renders, so that a refused object would end an upgrade half-way.

        Raises:
            StepError: it refuses one; says which and why.
        """
        # The node's kubectl: nothing to install here, and the objects' secrets go in by stdin.
        access = self._reached()
        command = f"{kube.sudo(access)}k3s kubectl apply --namespace {NAMESPACE} --filename - --output name {TRIAL}"
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        done = remote.run(access, command, timeout=TRIAL_SECONDS, input=body, check=False)
        if done.code != 0:
            reason = self._masked(done.stderr.strip()) or f"exit code {done.code}"
            raise StepError(access.name, "try the release on the API server", reason, "nothing was changed")

    def _await_namespace(self, api: Any) -> None:
        from kubernetes.client.exceptions import ApiException

        deadline = time.monotonic() + NAMESPACE_SECONDS
        while True:
            try:
                self._core(api).read_namespace(NAMESPACE, _request_timeout=kube.TIMEOUT)
                return
            except ApiException as error:
                if error.status != 404:
                    raise self._refused("look for the namespace", error) from None
            if time.monotonic() > deadline:
                raise DeadlineError(
                    self.node.spec.name, f"K3s to make the namespace {NAMESPACE}", NAMESPACE_SECONDS, "it is not there"
                )
            time.sleep(0.3)

    def _put_certificate(self, api: Any, seen: Seen) -> None:
        from kubernetes.client.exceptions import ApiException

        if self.certificate is None or self.certificate.digest == seen.certificate:
            return
        body, core = self.certificate.secret(), self._core(api)
        try:
            if seen.certificate:
                core.replace_namespaced_secret(values.TLS_SECRET, NAMESPACE, body, _request_timeout=kube.TIMEOUT)
            else:
                core.create_namespaced_secret(NAMESPACE, body, _request_timeout=kube.TIMEOUT)
        except ApiException as error:
            raise self._refused("put the certificate", error) from None

    def _await_health(self, report: Reporter) -> None:
        from binder_node.binder.client import Binder

        url, last = self.node.spec.url(self.node.spec.names.binder), ""
        deadline = time.monotonic() + HEALTH_SECONDS
        with (
            step(report, STAGE, f"ask {url} how it is") as found,
            Binder(url, self.address, patience=ANSWER_SECONDS, trust=self._trust) as binder,
        ):
            while True:
                try:
                    health = binder.health()
                    if health.get("ok"):
                        found["versions"] = binder.versions()
                        return
                    bad = [check for check in health.get("checks", []) if not check.get("ok")]
                    last = ", ".join(str(check.get("service")) for check in bad) + ": not ok"
                except StepError as error:
                    last = error.reason
                if time.monotonic() > deadline:
                    raise DeadlineError(self.node.spec.name, f"{url}/health to say ok", HEALTH_SECONDS, last)
                time.sleep(0.5)

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _reached(self) -> Access:
        if self.access is None:
            raise StepError(self.node.spec.name, "reach the machine", "there is none yet", "run `binder-node up` first")
        return self.access

    def _helm(self, cluster: kube.Cluster) -> Helm:
        return Helm(self.node.spec.name, self.node.artifacts[HELM].path, cluster.config)

    def _core(self, api: Any) -> Any:
        import kubernetes

        library: Any = kubernetes
        return library.client.CoreV1Api(api)

    def _masked(self, text: str) -> str:
        return masked(text, self.composed.values)

    def _refused(self, what: str, error: Any) -> StepError:
        return StepError(self.node.spec.name, what, self._masked(f"{error.status} {error.reason}: {error.body}"))
