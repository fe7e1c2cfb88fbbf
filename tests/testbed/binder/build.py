"""Build pods: the executor that the product subclasses, and the cleaner. Same names, traits and methods as upstream."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any as AnyType
from urllib.parse import urlparse

import kubernetes
from kubernetes import client, watch
from tornado.ioloop import IOLoop
from tornado.log import app_log
from traitlets import Any, Bool, Dict, Integer, List, Unicode, default
from traitlets.config import LoggingConfigurable
from urllib3.exceptions import ReadTimeoutError

KUBE_TIMEOUT = (3.05, 60)  # seconds to connect, to read
WATCH_SECONDS = 30
BUILD_LABEL = "binderhub-build"
ENDED = ("Succeeded", "Failed", "Evicted")


def core_api() -> AnyType:
    """The cluster's core API, from inside a pod or by the user's kubeconfig."""
    try:
        kubernetes.config.load_incluster_config()
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config()
    return client.CoreV1Api()


class ProgressEvent:
    """What a build tells its watcher: a change of status, or a line of repo2docker's JSON log."""

    class Kind(Enum):
        """What ``payload`` is."""

        BUILD_STATUS_CHANGE = 1
        LOG_MESSAGE = 2

    class BuildStatus(Enum):
        """A build pod's state."""

        PENDING = "pending"
        RUNNING = "running"
        BUILT = "built"
        FAILED = "failed"
        UNKNOWN = "unknown"

    def __init__(self, kind: Kind, payload: AnyType) -> None:
        self.kind, self.payload = kind, payload


_STATUS = {
    "Pending": ProgressEvent.BuildStatus.PENDING,
    "Running": ProgressEvent.BuildStatus.RUNNING,
    "Failed": ProgressEvent.BuildStatus.FAILED,
    "Unknown": ProgressEvent.BuildStatus.UNKNOWN,
}


class BuildExecutor(LoggingConfigurable):
    """One build of one repository at one ref into one image."""

    q = Any(help="Queue for progress events.")
    name = Unicode(help="The same for the same repository and ref: builds of one thing are one pod.")
    repo_url = Unicode(help="URL to clone.")
    ref = Unicode(help="Commit to build.")
    image_name = Unicode(help="Full image name with tag.")
    git_credentials = Unicode("", config=True)
    push_secret = Unicode("", config=True)
    registry_credentials = Dict({}, config=True)
    appendix = Unicode("", config=True)
    builder_info = Dict(config=True, help="Shown by /versions.")
    repo2docker_extra_args = List(Unicode(), default_value=[], config=True)
    stop_event = Any()

    @default("stop_event")
    def _default_stop_event(self) -> threading.Event:
        return threading.Event()

    def __init__(self, **kwargs: AnyType) -> None:
        super().__init__(**kwargs)
        self.main_loop = IOLoop.current()

    def get_r2d_cmd_options(self) -> list[str]:
        """repo2docker's options."""
        options = [
            f"--ref={self.ref}",
            f"--image={self.image_name}",
            *("--no-clean", "--no-run", "--json-logs", "--user-name=jovyan", "--user-id=1000"),
        ]
        if self.appendix:
            options += ["--appendix", self.appendix]
        if self.push_secret:
            options.append("--push")
        return options + list(self.repo2docker_extra_args)

    def get_cmd(self) -> list[str]:
        """The build container's arguments."""
        return ["jupyter-repo2docker", *self.get_r2d_cmd_options(), self.repo_url]

    def progress(self, kind: ProgressEvent.Kind, payload: AnyType) -> None:
        """Hand an event to the watcher's loop; callable from any thread."""
        self.main_loop.add_callback(self.q.put, ProgressEvent(kind, payload))

    def submit(self) -> None:
        """Start the build if nobody has, and watch it to its end. Blocks; runs in a thread."""
        raise NotImplementedError

    def stream_logs(self) -> None:
        """Put every line of the log into the queue. Blocks; runs in a thread."""

    def cleanup(self) -> None:
        """Remove what the build left."""

    def stop(self) -> None:
        """Watch no more; the build itself goes on."""
        self.stop_event.set()


class KubernetesBuildExecutor(BuildExecutor):
    """A build that is a pod."""

    api = Any()
    push_secret = Unicode("binder-build-docker-config", config=True)
    namespace = Unicode(config=True)
    build_image = Unicode("quay.io/jupyterhub/repo2docker:2024.07.0", config=True)
    image_pull_secrets = List([], config=True)
    docker_host = Unicode("/var/run/docker.sock", allow_none=True, config=True)
    resources = Dict({}, config=True)
    node_selector = Dict({}, config=True)
    extra_envs = Dict({}, config=True)
    log_tail_lines = Integer(100, config=True)
    sticky_builds = Bool(False, config=True)

    @default("api")
    def _default_api(self) -> AnyType:
        return core_api()

    @default("namespace")
    def _default_namespace(self) -> str:
        return os.environ.get("BUILD_NAMESPACE", "default")

    @default("builder_info")
    def _default_builder_info(self) -> dict[str, str]:
        return {"build_image": self.build_image}

    def get_builder_volumes(self) -> tuple[list[AnyType], list[AnyType]]:
        """Volumes and mounts of the build pod: the builder's socket and the push credentials."""
        volumes, mounts = [], []
        if self.docker_host is not None:
            source = client.V1HostPathVolumeSource(path=urlparse(self.docker_host).path, type="Socket")
            volumes.append(client.V1Volume(name="docker-socket", host_path=source))
            mounts.append(client.V1VolumeMount(name="docker-socket", mount_path="/var/run/docker.sock"))
        if self.push_secret and not self.registry_credentials:
            secret = client.V1SecretVolumeSource(secret_name=self.push_secret)
            volumes.append(client.V1Volume(name="docker-config", secret=secret))
            at = "/root/.docker/config.json"
            mounts.append(client.V1VolumeMount(name="docker-config", mount_path=at, sub_path="config.json"))
        return volumes, mounts

    def get_image_pull_secrets(self) -> list[AnyType]:
        """References to the secrets that the build image is pulled with."""
        return [client.V1LocalObjectReference(name=name) for name in self.image_pull_secrets]

    def get_affinity(self) -> AnyType:
        """Build pods keep away from each other where there is a choice of nodes."""
        term = client.V1PodAffinityTerm(
            topology_key="kubernetes.io/hostname",
            label_selector=client.V1LabelSelector(match_labels={"component": BUILD_LABEL}),
        )
        weighted = client.V1WeightedPodAffinityTerm(weight=100, pod_affinity_term=term)
        return client.V1Affinity(
            pod_anti_affinity=client.V1PodAntiAffinity(preferred_during_scheduling_ignored_during_execution=[weighted])
        )

    def _environment(self) -> list[AnyType]:
        pairs = dict(self.extra_envs)
        if self.git_credentials:
            pairs["GIT_CREDENTIAL_ENV"] = self.git_credentials
        if self.registry_credentials:
            pairs["CONTAINER_ENGINE_REGISTRY_CREDENTIALS"] = json.dumps(self.registry_credentials)
        return [client.V1EnvVar(name=name, value=value) for name, value in pairs.items()]

    def _pod(self) -> AnyType:
        volumes, mounts = self.get_builder_volumes()
        container = client.V1Container(
            name="builder",
            image=self.build_image,
            args=self.get_cmd(),
            volume_mounts=mounts,
            resources=self.resources,
            env=self._environment(),
        )
        tolerations = [
            client.V1Toleration(key=key, operator="Equal", value="user", effect="NoSchedule")
            for key in ("hub.jupyter.org/dedicated", "hub.jupyter.org_dedicated")
        ]
        return client.V1Pod(
            metadata=client.V1ObjectMeta(
                name=self.name,
                labels={"name": self.name, "component": BUILD_LABEL},
                annotations={"binder-repo": self.repo_url},
            ),
            spec=client.V1PodSpec(
                containers=[container],
                tolerations=tolerations,
                node_selector=self.node_selector,
                volumes=volumes,
                restart_policy="Never",
                affinity=self.get_affinity(),
                image_pull_secrets=self.get_image_pull_secrets(),
            ),
        )

    def submit(self) -> None:
        """Create the pod, or join the one that is there; report its phases until it is gone."""
        self.pod = self._pod()
        try:
            self.api.create_namespaced_pod(self.namespace, self.pod, _request_timeout=KUBE_TIMEOUT)
        except client.rest.ApiException as error:
            if error.status != 409:  # somebody else's request builds the same
                raise
        while not self.stop_event.is_set():
            if self._watch_once():
                return

    def _watch_once(self) -> bool:
        """Follow the pod for one watch's length; whether the build has ended."""
        stream = watch.Watch()
        try:
            for event in stream.stream(
                self.api.list_namespaced_pod,
                self.namespace,
                label_selector=f"name={self.name}",
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=KUBE_TIMEOUT,
            ):
                phase = event["object"].status.phase
                if event["type"] == "DELETED":
                    built = phase == "Succeeded"
                    status = ProgressEvent.BuildStatus.BUILT if built else ProgressEvent.BuildStatus.FAILED
                    self.progress(ProgressEvent.Kind.BUILD_STATUS_CHANGE, status)
                    return True
                self.pod = event["object"]
                if phase in _STATUS and not self.stop_event.is_set():
                    self.progress(ProgressEvent.Kind.BUILD_STATUS_CHANGE, _STATUS[phase])
                if phase in ("Succeeded", "Failed"):
                    self.cleanup()
        except ReadTimeoutError:
            app_log.warning("watch of %s timed out; again", self.name)
        finally:
            stream.stop()
        return False

    def stream_logs(self) -> None:
        """Follow the pod's log; a line that is not JSON is wrapped as one of phase ``unknown``."""
        response = self.api.read_namespaced_pod_log(
            self.name,
            self.namespace,
            follow=True,
            tail_lines=self.log_tail_lines,
            _request_timeout=(3, None),
            _preload_content=False,
        )
        for raw in response:
            if self.stop_event.is_set():
                return
            line = raw.decode(errors="replace")
            try:
                json.loads(line)
            except ValueError:
                line = json.dumps({"phase": "unknown", "message": line})
            self.progress(ProgressEvent.Kind.LOG_MESSAGE, line)

    def cleanup(self) -> None:
        """Delete the pod."""
        _delete(self.api, self.namespace, self.name)


class KubernetesCleaner(LoggingConfigurable):
    """Deletes build pods that have ended, and those that are too old."""

    kube = Any()
    namespace = Unicode(config=True)
    max_age = Integer(4 * 3600, config=True, help="Seconds after which a running build is deleted.")

    @default("kube")
    def _default_kube(self) -> AnyType:
        return core_api()

    @default("namespace")
    def _default_namespace(self) -> str:
        return os.environ.get("BUILD_NAMESPACE", "default")

    def cleanup(self) -> None:
        """One round."""
        oldest = datetime.now(tz=UTC) - timedelta(seconds=self.max_age)
        pods = self.kube.list_namespaced_pod(
            self.namespace, label_selector=f"component={BUILD_LABEL}", _request_timeout=KUBE_TIMEOUT
        )
        for pod in pods.items:
            started = pod.status.start_time
            if pod.status.phase in ENDED or (self.max_age and started and started < oldest):
                app_log.info("deleting %s build %s", pod.status.phase, pod.metadata.name)
                _delete(self.kube, self.namespace, pod.metadata.name)

    def run_forever(self, every: float) -> None:
        """Rounds without end, in a daemon thread."""
        while True:
            try:
                self.cleanup()
            except (client.rest.ApiException, OSError):
                app_log.exception("cleaning up build pods")
            time.sleep(every)


def _delete(api: AnyType, namespace: str, name: str) -> None:
    try:
        api.delete_namespaced_pod(
            name=name,
            namespace=namespace,
            body=client.V1DeleteOptions(grace_period_seconds=0),
            _request_timeout=KUBE_TIMEOUT,
        )
    except client.rest.ApiException as error:
        if error.status != 404:  # somebody else was faster
            raise
