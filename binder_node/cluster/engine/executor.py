"""The BinderHub configuration that puts the engine into build pods: a text for the chart's ``extraConfig``."""

from __future__ import annotations

from string import Template

from binder_node import layout
from binder_node.spec.model import Spec

# Where the build pod sees what the node has. The pod's own facts are a downward API volume, because BinderHub's
# `extra_envs` can only carry constants.
POD_ENGINE = "/opt/binder-node/engine"
POD_BUILDKIT = "/run/buildkit"
POD_FACTS = "/run/binder-node/pod"

_SOURCE = Template('''\
from binderhub.build import KubernetesBuildExecutor
from kubernetes import client as _kubernetes


class BuildctlBuildExecutor(KubernetesBuildExecutor):
    """Builds with the node's BuildKit: the stock build image, and an engine from a read-only folder of the node."""

    # name of the volume: (path on the node, path in the pod)
    node_folders = {
        "binder-node-engine": ($host_engine, $pod_engine),
        # The folder, not the socket: a bind-mounted socket is dead once buildkitd has restarted.
        "binder-node-buildkit": ($host_buildkit, $pod_buildkit),
    }
    engine_environment = {
        "BUILDKIT_HOST": $buildkit_host,
        "PYTHONPATH": $python_path,
        "BINDER_NODE_ENGINE": $pod_engine,
        "BINDER_NODE_POD": $pod_facts,
    }
    engine_arguments = $arguments

    def get_builder_volumes(self):
        volumes, mounts = super().get_builder_volumes()
        for name, (on_node, in_pod) in self.node_folders.items():
            source = _kubernetes.V1HostPathVolumeSource(path=on_node, type="Directory")
            volumes.append(_kubernetes.V1Volume(name=name, host_path=source))
            mounts.append(_kubernetes.V1VolumeMount(name=name, mount_path=in_pod, read_only=True))
        # The pod's memory limit, so that it is a build step's too.
        fact = _kubernetes.V1DownwardAPIVolumeFile(
            path="memory",
            resource_field_ref=_kubernetes.V1ResourceFieldSelector(
                container_name="builder", resource="limits.memory", divisor="1"
            ),
        )
        source = _kubernetes.V1DownwardAPIVolumeSource(items=[fact])
        volumes.append(_kubernetes.V1Volume(name="binder-node-pod", downward_api=source))
        mounts.append(_kubernetes.V1VolumeMount(name="binder-node-pod", mount_path=$pod_facts, read_only=True))
        return volumes, mounts

    def get_r2d_cmd_options(self):
        # First, so that `repo2docker_extra_args` in an operator's values has the last word.
        return [*self.engine_arguments, *super().get_r2d_cmd_options()]

    def submit(self):
        self.extra_envs = {**self.engine_environment, **self.extra_envs}
        return super().submit()


c.BinderHub.build_class = BuildctlBuildExecutor
c.BuildctlBuildExecutor.docker_host = None
''')


def executor_source(spec: Spec) -> str:
    """Python source for BinderHub's ``extraConfig``: the build executor and the two settings that select it.

    Everything else of ``KubernetesBuildExecutor`` (``build_image``, ``resources``, ``extra_envs``, ...) stays the
    values' to say, under that name: traitlets hands a class the configuration of its bases. The pod stays Pending
    until the node has both folders. Tried with binderhub b9fad995 and its kubernetes client 9.0.1.
    """
    engine = spec.machine.state / layout.ENGINE_STATE
    return _SOURCE.substitute(
        host_engine=repr(str(engine)),
        host_buildkit=repr(str(layout.BUILDKIT_SOCKET.parent)),
        pod_engine=repr(POD_ENGINE),
        pod_buildkit=repr(POD_BUILDKIT),
        pod_facts=repr(POD_FACTS),
        buildkit_host=repr(f"unix://{POD_BUILDKIT}/{layout.BUILDKIT_SOCKET.name}"),
        python_path=repr(f"{POD_ENGINE}/site"),
        arguments=repr([f"--config={POD_ENGINE}/etc/repo2docker.py", "--engine=buildctl"]),
    )
