"""JupyterHub's configuration from the release's values: what upstream's two charts set, and no more."""
# ruff: noqa: F821 - traitlets puts `c` there

import os
import sys
from pathlib import Path

import yaml
from kubespawner import KubeSpawner
from tornado import web
from tornado.httpclient import AsyncHTTPClient
from traitlets import Bool, Unicode

SECRET = Path("/usr/local/etc/jupyterhub/secret")
values = yaml.safe_load((SECRET / "values.yaml").read_text())


def get_config(key, default=None):
    """The value at a dotted key."""
    found = values
    for level in key.split("."):
        if not isinstance(found, dict) or level not in found:
            return default
        found = found[level]
    return found


def secret(key):
    """One entry of the release's secret."""
    return (SECRET / key).read_text()


class BinderSpawner(KubeSpawner):
    """Starts the image that the launch request names, with the token that it brings; no login."""

    auth_enabled = Bool(False, config=True)
    cors_allow_origin = Unicode("", config=True)

    def start(self):
        if not self.auth_enabled:
            for needed in ("token", "image"):
                if needed not in self.user_options:
                    raise web.HTTPError(400, f"{needed} required")
        self.image = self.user_options.get("image", self.image)
        return super().start()

    def get_args(self):
        if self.auth_enabled:
            return super().get_args()
        options = {
            "base_url": self.server.base_url,
            "token": self.user_options["token"],
            "trust_xheaders": "True",
            **({"default_url": self.default_url} if self.default_url else {}),
            **({"allow_origin": self.cors_allow_origin} if self.cors_allow_origin else {}),
            **({"allow_origin_pat": ".*"} if self.cors_allow_origin == "*" else {}),
        }
        # Old and new servers read different names.
        both = [f"--{app}.{name}={value}" for app in ("NotebookApp", "ServerApp") for name, value in options.items()]
        return ["--ip=0.0.0.0", f"--port={self.port}", *both, *self.args]

    def get_env(self):
        env = super().get_env()
        for option, value in self.user_options.items():
            if option == "repo_url":
                env["BINDER_REPO_URL"] = value
            elif option.startswith("binder_"):
                env[option.upper()] = value
        return env


AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
release = get_config("Release.Name")
c.JupyterHub.spawner_class = BinderSpawner
c.JupyterHub.cleanup_servers = False  # a hub that restarts finds its users' servers again
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = f"http://hub:{os.environ['HUB_SERVICE_PORT']}"
c.ConfigurableHTTPProxy.api_url = f"http://proxy-api:{os.environ['PROXY_API_SERVICE_PORT']}"
c.ConfigurableHTTPProxy.should_start = False

database = get_config("hub.db.type")
if database == "sqlite-pvc":
    c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
elif database == "sqlite-memory":
    c.JupyterHub.db_url = "sqlite://"
elif get_config("hub.db.url"):
    c.JupyterHub.db_url = get_config("hub.db.url")

for trait, key in {
    "concurrent_spawn_limit": "concurrentSpawnLimit",
    "active_server_limit": "activeServerLimit",
    "base_url": "baseUrl",
}.items():
    if get_config(f"hub.{key}") is not None:
        c.JupyterHub[trait] = get_config(f"hub.{key}")
if get_config("hub.consecutiveFailureLimit") is not None:
    c.Spawner.consecutive_failure_limit = get_config("hub.consecutiveFailureLimit")

c.KubeSpawner.namespace = os.environ["POD_NAMESPACE"]
c.KubeSpawner.common_labels = {
    "app": "jupyterhub",
    "release": release,
    "app.kubernetes.io/name": "jupyterhub",
    "app.kubernetes.io/instance": release,
    "app.kubernetes.io/managed-by": "kubespawner",
}
for trait, key in {
    "start_timeout": "startTimeout",
    "image_pull_policy": "image.pullPolicy",
    "events_enabled": "events",
    "extra_labels": "extraLabels",
    "extra_annotations": "extraAnnotations",
    "uid": "uid",
    "fs_gid": "fsGid",
    "service_account": "serviceAccountName",
    "node_selector": "nodeSelector",
    "init_containers": "initContainers",
    "extra_containers": "extraContainers",
    "lifecycle_hooks": "lifecycleHooks",
    "mem_limit": "memory.limit",
    "mem_guarantee": "memory.guarantee",
    "cpu_limit": "cpu.limit",
    "cpu_guarantee": "cpu.guarantee",
    "extra_resource_limits": "extraResource.limits",
    "extra_resource_guarantees": "extraResource.guarantees",
    "environment": "extraEnv",
    "extra_pod_config": "extraPodConfig",
    "allow_privilege_escalation": "allowPrivilegeEscalation",
}.items():
    if get_config(f"singleuser.{key}") is not None:
        c.KubeSpawner[trait] = get_config(f"singleuser.{key}")
c.KubeSpawner.tolerations = [
    *get_config("scheduling.userPods.tolerations", []),
    *get_config("singleuser.extraTolerations", []),
]
c.KubeSpawner.volumes = get_config("singleuser.storage.extraVolumes") or []
c.KubeSpawner.volume_mounts = get_config("singleuser.storage.extraVolumeMounts") or []
c.Spawner.cmd = get_config("singleuser.cmd")
if get_config("singleuser.defaultUrl"):
    c.Spawner.default_url = get_config("singleuser.defaultUrl")
pull_secrets = [*(get_config("imagePullSecrets") or []), *(get_config("singleuser.image.pullSecrets") or [])]
if get_config("imagePullSecret.create") and get_config("imagePullSecret.automaticReferenceInjection"):
    pull_secrets.append("image-pull-secret")
c.KubeSpawner.image_pull_secrets = pull_secrets
if get_config("singleuser.cloudMetadata.blockWithIptables"):
    sys.exit(
        "singleuser.cloudMetadata.blockWithIptables: the stand-in chart has no network-tools image; set it to false"
    )

c.JupyterHub.services = []
c.JupyterHub.load_roles = []
if get_config("cull.enabled"):
    flags = {"--timeout": "timeout", "--cull-every": "every", "--concurrency": "concurrency", "--max-age": "maxAge"}
    command = [sys.executable, "-m", "jupyterhub_idle_culler", "--url=http://localhost:8081/hub/api"]
    command += [f"{flag}={get_config(f'cull.{key}')}" for flag, key in flags.items() if get_config(f"cull.{key}")]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    if get_config("cull.users"):
        command.append("--cull-users")
        scopes.append("admin:users")
    if not get_config("cull.adminUsers"):
        command.append("--cull-admin-users=false")
    if get_config("cull.removeNamedServers"):
        command.append("--remove-named-servers")
    culler = "jupyterhub-idle-culler"
    c.JupyterHub.services.append({"name": culler, "command": command})
    c.JupyterHub.load_roles.append({"name": culler, "scopes": scopes, "services": [culler]})
for name, service in get_config("hub.services", {}).items():
    kept = {key: value for key, value in service.items() if key != "apiToken"}
    c.JupyterHub.services.append({"name": name, **kept, "api_token": secret(f"hub.services.{name}.apiToken")})
for name, role in get_config("hub.loadRoles", {}).items():
    c.JupyterHub.load_roles.append({"name": name, **role})

if get_config("debug.enabled"):
    c.JupyterHub.log_level = "DEBUG"
for section, settings in get_config("hub.config", {}).items():
    if not section[:1].isupper():
        sys.exit(f"hub.config.{section}: sections are names of configurable classes")
    taken = {"JupyterHub": ("cookie_secret", "services"), "CryptKeeper": ("keys",)}.get(section, ())
    c[section].update({key: value for key, value in settings.items() if key not in taken})
c.JupyterHub.cookie_secret = bytes.fromhex(secret("hub.config.JupyterHub.cookie_secret"))
c.CryptKeeper.keys = secret("hub.config.CryptKeeper.keys").split(";")

for key, snippet in sorted(get_config("hub.extraConfig", {}).items()):
    print(f"extraConfig {key}")
    exec(snippet)
