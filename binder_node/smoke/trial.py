"""One trial of the whole way on a node, step by step as the deep checks ask for it, and everything taken away again."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from binder_node.binder.client import Binder
from binder_node.binder.kernel import Ran, run_code, shutdown
from binder_node.binder.launch import Launched, follow
from binder_node.binder.repo import parse_repo
from binder_node.errors import DeadlineError, StepError
from binder_node.layout import NAMESPACE, registry_name
from binder_node.node import Access, Node
from binder_node.smoke import registry
from binder_node.smoke.branch import FILE, Branch, push_branch, remove_branch, sweep_branches
from binder_node.smoke.reach import Target, node_targets, program, service_targets

# A build of a few layers; a slow mirror, or a queue of other people's builds, may take most of it.
BUILD_SECONDS = 600.0
LAUNCH_SECONDS = 180.0
# The hub looks after its servers every 30 s (JupyterHub, Spawner.poll_interval).
GONE_SECONDS, STOP_SECONDS = 90.0, 30.0
ENDED = ("Succeeded", "Failed", "gone")
CODE_SECONDS = 60.0
PULL_SECONDS = 120.0
USERS = "app=jupyterhub,component=singleuser-server"
OWNER = "hub.jupyter.org/username"
GITHUB = ("github.com", 443)


@dataclass
class Trial:
    """``repository`` is where BinderHub clones from, ``push_to`` where we push (another way to the same one)."""

    node: Node
    access: Access
    address: str
    host: Any
    kubectl: Callable[[str], Any]
    binder: Binder
    repository: str
    push_to: str
    branch: Branch | None = None
    first: Launched | None = None
    second: Launched | None = None
    manifest: str = ""
    digest: str = ""

    # --- the way ----------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """A new branch, whose build tries what a build must not reach; those of killed runs go."""
        sweep_branches(self.push_to)
        self.branch = push_branch(self.push_to, program([*self.targets(spared=()), self.world()]))

    def build(self) -> Launched:
        """The first launch of the branch. What breaks off once the image is built is the launch's failure, and in its
        message.

        Raises:
            StepError, DeadlineError: BinderHub's answer is none, or comes to no end before there is an image.
        """
        self.first = Launched(self.repository)
        try:
            return self._launch(self.first, BUILD_SECONDS)
        except StepError as error:
            if "built" not in self.first.phases:
                raise
            self.first.message = f"{error.step}: {error.reason}"
            return self.first

    def relaunch(self) -> Launched:
        """The same again. Raises StepError, DeadlineError: BinderHub's answer is none."""
        self.second = Launched(self.repository)
        return self._launch(self.second, LAUNCH_SECONDS)

    def _launch(self, result: Launched, seconds: float) -> Launched:
        assert self.branch is not None
        follow(self.binder, parse_repo(self.repository, self.branch.name), result, seconds=seconds)
        return result

    def targets(self, spared: tuple[str, ...]) -> list[Target]:
        """What users' code must not reach: the node, and the release's Services but for the ``spared``."""
        found = self.kubectl(f"get services -n {NAMESPACE}")["items"]
        services = {
            item["metadata"]["name"]: (item["spec"]["clusterIP"], int(item["spec"]["ports"][0]["port"]))
            for item in found
            if item["spec"].get("clusterIP", "None") != "None" and item["spec"].get("ports")
        }
        return [*node_targets(self.node.spec, self.address), *service_targets(services, spared)]

    def world(self) -> Target:
        """What has to be reached, or refusals would prove nothing: where the repository is."""
        parts = urlsplit(self.repository)
        ports = {"http": 80, "https": 443, "git": 9418}
        if parts.hostname and parts.scheme in ports:
            return Target("the world", parts.hostname, parts.port or ports[parts.scheme])
        return Target("the world", *GITHUB)

    def run(self, code: str) -> Ran:
        """Code in the server that was launched last."""
        assert self.second is not None
        return run_code(self.binder, self.second.url, self.second.token, code, seconds=CODE_SECONDS)

    def stop(self, server: Launched) -> None:
        """Stop a server by its own API, and wait until it runs no more.

        Raises:
            StepError: it does not want to.
            DeadlineError: it went on.
        """
        shutdown(self.binder, server.url, server.token)
        server.token = ""  # it is stopped: nobody has to do it again
        remedy = f"see `binder-node logs {self.node.spec.name} hub`"
        self._wait("the server to stop", STOP_SECONDS, lambda: self._phase(server) in ENDED, server, remedy)

    def await_gone(self, server: Launched) -> None:
        """Wait until the hub has taken a stopped server's pod away.

        Raises:
            DeadlineError: it stayed.
        """
        remedy = "pods that stay count against the quota: does the hub see that they ended?"
        self._wait("the server's pod to go", GONE_SECONDS, lambda: self.pod(server) is None, server, remedy)

    def _wait(self, what: str, seconds: float, done: Callable[[], bool], server: Launched, remedy: str) -> None:
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > seconds:
                last = f"the pod of {user(server)} is {self._phase(server)}"
                raise DeadlineError(self.node.spec.name, what, seconds, last, remedy)
            time.sleep(0.5)

    def _phase(self, server: Launched) -> str:
        pod = self.pod(server)
        return str(pod["status"].get("phase")) if pod else "gone"

    def pod(self, server: Launched) -> dict[str, Any] | None:
        """The server's pod; None when it has none."""
        pods = self.kubectl(f"get pods -n {NAMESPACE} -l {USERS}")["items"]
        mine = [item for item in pods if item["metadata"].get("annotations", {}).get(OWNER) == user(server)]
        return mine[0] if mine else None

    def reasons(self, server: Launched) -> list[str]:
        """The reasons of the events of the server's pod, like ``Pulling``."""
        pod = self.pod(server)
        name = pod["metadata"]["name"] if pod else ""
        found = self.kubectl(f"get events -n {NAMESPACE} --field-selector involvedObject.name={name}")["items"]
        return [str(item.get("reason")) for item in found]

    # --- the image --------------------------------------------------------------------------------------------------

    @property
    def image(self) -> str:
        """The full name of the built image, tag included."""
        return self.first.image if self.first else ""

    def ask_manifest(self) -> registry.Answer:
        """What the registry has under the image's tag."""
        repository, tag = registry.repository_of(self.image)
        path = f"/v2/{repository}/manifests/{tag}"
        asked = registry.Ask("manifest", "pull", "pull", path, accept=registry.MANIFEST, body=True)
        found = registry.ask(self.node, self.access, [asked])["manifest"]
        if found.status == 200:
            self.manifest, self.digest = found.body, found.sha256
        return found

    def ask_layers(self) -> registry.Answers:
        """Whether everything that the manifest names is there; the answers by digest."""
        repository, _ = registry.repository_of(self.image)
        asks = [
            registry.Ask(digest, "pull", "pull", f"/v2/{repository}/blobs/{digest}", "HEAD")
            for digest in registry.blobs_of(json.loads(self.manifest))
        ]
        return registry.ask(self.node, self.access, asks)

    def take_off(self, image: str) -> None:
        """Remove an image from the node's store; no error where it is not."""
        self.host.run("k3s crictl rmi %s", image)

    def has(self, image: str) -> bool:
        """Whether the node's store has an image of this name."""
        return bool(self.host.run("k3s crictl inspecti %s", image).rc == 0)

    def pull(self, image: str) -> None:
        """Have the node's containerd pull, as the kubelet does.

        Raises:
            StepError: it could not.
            DeadlineError: it took too long.
        """
        done = self.host.run("k3s crictl pull %s", image, timeout=PULL_SECONDS)
        if done.rc != 0:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.rc}"])[-1]
            remedy = f"see `binder-node logs {self.node.spec.name} registry`"
            raise StepError(self.node.spec.name, f"pull {image}", said, remedy)

    @property
    def by_digest(self) -> str:
        """The image's name with its digest in the tag's place."""
        return f"{self.image.rpartition(':')[0]}@{self.digest}"

    # --- afterwards -------------------------------------------------------------------------------------------------

    def clean(self) -> None:
        """Take away servers, image, registry's entry and branch; one that fails keeps no other from going.

        Raises:
            StepError: something of ours is left; says what.
        """
        left = [str(error) for step in self._steps() if (error := _tried(step))]
        if left:
            name = self.node.spec.name
            raise StepError(name, "take away what the checks made", "; ".join(left), "run the checks again, or by hand")

    def _steps(self) -> Iterator[Callable[[], object]]:
        for server in (self.first, self.second):
            if server is not None and server.token:
                yield partial(self.stop, server)
        if self.branch is not None:
            yield partial(self._end_pods, self.branch)
        if self.image:
            yield self._forget_image
        if self.branch is not None:
            yield partial(remove_branch, self.branch)

    def _end_pods(self, branch: Branch) -> None:
        """Pods of ours that are still there: servers that ended, or what a run had under way when it was broken off."""
        labels = "component in (binderhub-build,singleuser-server)"
        pods = self.kubectl(f"get pods -n {NAMESPACE} -l '{labels}'")["items"]
        ours = [pod for pod in pods if any(self._is_ours(one, branch) for one in pod["spec"]["containers"])]
        if not ours:
            return
        names = " ".join(shlex.quote(pod["metadata"]["name"]) for pod in ours)
        done = self.host.run(f"k3s kubectl delete pod -n {NAMESPACE} --ignore-not-found {names}", timeout=GONE_SECONDS)
        if done.rc != 0:
            raise StepError(self.node.spec.name, f"delete pods {names}", done.stderr)

    def _is_ours(self, container: Mapping[str, Any], branch: Branch) -> bool:
        return container["image"] == self.image or any(branch.commit in word for word in container.get("args") or ())

    def _forget_image(self) -> None:
        """Off the node, and out of the registry: tag, manifests, and the blobs that nobody else's image can have."""
        if not self.image.startswith(f"{registry_name(self.node.spec.names.registry)}/"):
            return
        for name in (self.image, self.by_digest):
            self.take_off(name)
        repository, tag = registry.repository_of(self.image)
        top = self._documents(repository, [tag])
        # An index, should the builder have pushed one, stands over others.
        under = [str(one["digest"]) for document in top.values() for one in document.get("manifests") or ()]
        documents = top | self._documents(repository, under)
        configs = [str(one["config"]["digest"]) for one in documents.values() if one.get("config")]
        blobs = [registry.Ask(one, "pull", "pull", f"/v2/{repository}/blobs/{one}", body=True) for one in configs]
        path = f"/v2/{repository}/manifests"
        deletes = [registry.Ask(f"delete {one}", "push", "push", f"{path}/{one}", "DELETE") for one in documents]
        found = registry.ask(self.node, self.access, [*blobs, *deletes])
        for digest, document in documents.items():
            if found[f"delete {digest}"].status not in (202, 404):
                raise StepError(self.node.spec.name, f"delete {self.image}", str(found[f"delete {digest}"]))
            own = []
            if document.get("config"):
                config = str(document["config"]["digest"])
                # What others may have too stays: it goes when nobody's image has it.
                own = [config, *registry.own_layers(document, json.loads(found[config].body or "{}"), FILE)]
            registry.forget(self.node, self.access, list(registry.image_objects(repository, tag, digest, own)))

    def _documents(self, repository: str, references: list[str]) -> dict[str, dict[str, Any]]:
        """Manifests and indexes by their digests; those that are not there are left out."""
        kinds = f"{registry.MANIFEST}, {registry.INDEX}"
        path = f"/v2/{repository}/manifests"
        asks = [registry.Ask(one, "pull", "pull", f"{path}/{one}", accept=kinds, body=True) for one in references]
        found = registry.ask(self.node, self.access, asks) if asks else None
        answers = [found[one] for one in references] if found else []
        return {one.sha256: json.loads(one.body) for one in answers if one.status == 200}


def user(server: Launched) -> str:
    """The temporary user whose server it is, from its address."""
    return unquote(urlsplit(server.url).path.rstrip("/").rpartition("/")[2])


def _tried(step: Callable[[], object]) -> StepError | None:
    try:
        step()
    except StepError as error:
        return error
    return None
