"""What breaks a node for the deep smoke checks, each with the checks that have to see it, and what mends it.

Shell, run on the node as root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CERTS = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d/registry.*:5000/hosts.toml"
ETC, KEPT = "/etc/binder-node", "/root/kept"
KUBECTL = "k3s kubectl -n binder"
POLICIES, SECRET = "/root/policies.yaml", "/root/secret.yaml"
SOCKET = "/run/buildkit/buildkitd.sock"
# A program for the binder's or the hub's own Python: a route of JupyterHub's proxy to BinderHub, put or taken away.
ROUTE = """
import os, sys, urllib.request
method, path = sys.argv[1:]
url = f"http://proxy-api:8001/api/routes{path}"
headers = {"Authorization": "token " + os.environ["CONFIGPROXY_AUTH_TOKEN"]}
data = b'{"target": "http://binder"}' if method == "POST" else None
urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method))
"""


def kept(file: str, edit: str, then: str) -> tuple[str, str]:
    """Commands that edit a file on the node, and that put it back; each followed by ``then``."""
    name = f"{KEPT}/{Path(file).name}"
    file = f"$(echo {file})"  # a name may be a pattern
    return f"mkdir -p {KEPT} && cp -a {file} {name} && {edit} {file} && {then}", f"cp -a {name} {file} && {then}"


def restarted(role: str) -> str:
    """Restart a registry and wait until it answers."""
    port = {"push": 5000, "pull": 5001}[role]
    return f"systemctl restart registry-{role} && {listens(port)}"


def listens(port: int) -> str:
    return f"timeout 20 bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.2; done'"


def route(method: str, path: str) -> str:
    """Have the hub's pod, which has the proxy's token, change a route."""
    return f"{KUBECTL} exec -i deploy/hub -- python3 - {method} {path} <<'PY'\n{ROUTE}\nPY"


# On the node: what the chart gave BinderHub or the hub in its Secret, edited by a sed program.
SETTINGS = """
import base64, json, subprocess, sys
get = ["k3s", "kubectl", "-n", "binder", "get", "secret", sys.argv[2], "-o", "json"]
secret = json.loads(subprocess.check_output(get))
text = base64.b64decode(secret["data"]["values.yaml"]).decode()
new = subprocess.run(["sed", "-E", sys.argv[1]], input=text, stdout=-1, text=True, check=True).stdout
assert new != text, text
secret["data"]["values.yaml"] = base64.b64encode(new.encode()).decode()
subprocess.run(["k3s", "kubectl", "replace", "-f", "-"], input=json.dumps(secret), text=True, check=True)
"""


WATCH = "/root/indexes.py"
# On the node: puts an index over each image of `minimal` under its tag, as soon as it is pushed.
INDEXES = """
import base64, json, os, subprocess, time, urllib.request
with open("/root/indexes.py.pid", "w") as own:
    own.write(str(os.getpid()))
get = ["k3s", "kubectl", "-n", "binder", "get", "secret", "binder-build-docker-config", "-o", "json"]
config = json.loads(base64.b64decode(json.loads(subprocess.check_output(get))["data"]["config.json"]))
login = {"Authorization": "Basic " + next(iter(config["auths"].values()))["auth"]}
MANIFEST, INDEX = ("application/vnd.oci.image.%s.v1+json" % kind for kind in ("manifest", "index"))
def ask(path, data=None, **headers):
    url = "http://127.0.0.1:5000/v2/" + path
    asked = urllib.request.Request(url, data, {**login, **headers}, method="PUT" if data else "GET")
    with urllib.request.urlopen(asked) as answer:
        return answer.headers, answer.read()
def tags():
    for name in json.loads(ask("_catalog?n=1000")[1])["repositories"]:
        if "minimal" in name:
            try:
                for tag in json.loads(ask(name + "/tags/list")[1])["tags"] or ():
                    yield name, tag
            except urllib.error.HTTPError:
                continue
seen = set(tags())
while True:
    for name, tag in set(tags()) - seen:
        about, manifest = ask(f"{name}/manifests/{tag}", Accept=MANIFEST)
        one = {"mediaType": MANIFEST, "digest": about["Docker-Content-Digest"], "size": len(manifest)}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [one]}
        ask(f"{name}/manifests/{tag}", json.dumps(index).encode(), **{"Content-Type": INDEX})
        seen.add((name, tag))
        print(name, tag, flush=True)
    time.sleep(0.1)
"""


def settings(edits: str, secret: str = "binder-secret", whose: str = "binder") -> tuple[str, str]:
    """Commands that edit BinderHub's own settings, or the hub's, and restart it, and that put them back."""
    save = f"{KUBECTL} get secret {secret} -o yaml > {SECRET}"
    edit = f"python3 - '{edits}' {secret} <<'PY'\n{SETTINGS}\nPY"
    restart = f"{KUBECTL} rollout restart deploy/{whose} && {KUBECTL} rollout status deploy/{whose} --timeout=90s"
    return f"{save}\n{edit}\n{restart}", f"{KUBECTL} replace --force -f {SECRET} && {restart}"


def scaled(name: str, replicas: int) -> str:
    wait = (
        f"{KUBECTL} rollout status deploy/{name} --timeout=90s"
        if replicas
        # And a moment until the Service knows that there is none.
        else f"{KUBECTL} wait --for=delete pod -l component={name} --timeout=60s && sleep 2"
    )
    return f"{KUBECTL} scale deploy/{name} --replicas={replicas} && {wait}"


@dataclass(frozen=True)
class Harm:
    """What breaks the node and what mends it (shell on the node); the checks that fail, and a word of each's reason."""

    name: str
    break_it: str
    mend: str
    fails: dict[str, str]
    only: str = "registry,isolation,binder"
    deep: bool = False
    repository: str = "minimal"


def harm(
    name: str,
    commands: tuple[str, str],
    only: str = "",
    *,
    deep: bool = False,
    repository: str = "minimal",
    **fails: str,
) -> Harm:
    """``fails``: ids with ``__`` for the dot and ``_`` for a dash. ``repository``: the world's, or one of its own."""
    ids = {id.replace("__", ".").replace("_", "-"): word for id, word in fails.items()}
    return Harm(name, *commands, ids, only or "registry,isolation,binder", deep, repository)


def together(harms: Sequence[Harm]) -> Harm:
    """All at once; mended in the opposite order, each whatever became of the others."""
    mends = "; ".join(f"({one.mend}\n) || failed=1" for one in reversed(harms))
    fails = {id: word for one in harms for id, word in one.fails.items()}
    breaks = " && ".join(f"({one.break_it}\n)" for one in harms)
    return Harm("together", breaks, f"failed=0; {mends}; exit $failed", fails)


HARMS = [
    harm(
        "push registry stopped",
        ("systemctl stop registry-push", restarted("push")),
        registry__push_rights="Connection refused",
    ),
    harm(
        "pull registry stopped",
        ("systemctl stop registry-pull", restarted("pull")),
        registry__pull_rights="Connection refused",
    ),
    harm(
        "the registry's name is not in the node's hosts",
        kept("/etc/hosts", "sed -i.bak /registry.*.test/d", "true"),
        registry__name="leads to nowhere",
    ),
    harm(
        "the registry's name leads to another machine",
        kept("/etc/hosts", "sed -i.bak 's/^127.0.0.1 registry/192.0.2.7 registry/'", "true"),
        registry__name="192.0.2.7",
    ),
    harm(
        "containerd has a wrong password for the registry",
        kept(CERTS, r"sed -i -E 's/Basic [A-Za-z0-9+\/=]+/Basic cHVsbDp3cm9uZw==/'", "true"),
        registry__containerd="authorization",
    ),
    harm(
        "the push registry asks nobody for a password",
        kept(f"{ETC}/registry-push.yaml", "sed -i '/^auth:/,/^[a-z]/{/^auth:/d;/^ /d}'", restarted("push")),
        registry__refusals="push without a login: HTTP 200",
    ),
    harm(
        "the pull registry takes pushes",
        kept(
            f"{ETC}/registry-pull.yaml",
            r"sed -i -E '/readonly:/{n;s/enabled: true/enabled: false/}'",
            restarted("pull"),
        ),
        registry__refusals="upload to pull: HTTP 202",
    ),
    harm(
        "the firewall's table is gone",
        ("nft delete table inet binder_node", "systemctl restart binder-node-firewall"),
        machine__firewall="the firewall is not whole",
    ),
    harm(
        "somebody opened a port in the firewall",
        ("nft insert rule inet binder_node input tcp dport 9000 accept", "systemctl restart binder-node-firewall"),
        isolation__firewall="1 of input more than wanted",
    ),
    harm(
        "the builds' network policy is gone",
        (
            f"{KUBECTL} get netpol builds -o yaml > {POLICIES} && {KUBECTL} delete netpol builds",
            f"{KUBECTL} apply -f {POLICIES}",
        ),
        isolation__policies="no policy keeps a build pod from",
    ),
    harm(
        "a policy more lets users into private networks",
        (
            f"{KUBECTL} apply -f - <<'YAML'\n"
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: more}, spec: {podSelector: "
            "{matchLabels: {component: singleuser-server}}, policyTypes: [Egress], egress: [{to: [{ipBlock: "
            "{cidr: 10.0.0.0/8}}]}]}}\nYAML",
            f"{KUBECTL} delete netpol more",
        ),
        isolation__policies="kubelet at the pod gateway",
    ),
    harm(
        "a server that is not there is answered",
        (route("POST", "/user/doesntexist"), route("DELETE", "/user/doesntexist")),
        binder__gone="not 424",
    ),
    harm(
        "something answers where nothing is",
        (route("POST", "/other"), route("DELETE", "/other")),
        binder__other="not 404",
    ),
    harm(
        "hub down",
        (scaled("hub", 0), scaled("hub", 1)),
        only="binder",
        binder__hub_health="HTTP 503",
    ),
    harm(
        "proxy down",
        (scaled("proxy", 0), scaled("proxy", 1)),
        only="binder",
        binder__hub_health="HTTP 50",
    ),
    harm(
        "quota 0, and BinderHub asks another registry",
        settings("s/total_quota: [0-9]+/total_quota: 0/; s#http://registry$#http://registry.invalid#"),
        only="binder",
        binder__quota="the quota is 0",
        binder__registry="cannot ask the registry",
    ),
    harm(
        "BinderHub looks for JupyterHub elsewhere",
        settings("s#hub_url_local: .*#hub_url_local: http://hub.invalid#"),
        only="binder",
        binder__hub="cannot reach JupyterHub",
    ),
    harm(
        "something else answers in the place of BinderHub's health",
        (
            f"{KUBECTL} apply -f - <<YAML\n"
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: more}, spec: "
            "{ingressClassName: traefik, rules: [{host: $(hostname).test, http: {paths: [{path: /health, "
            "pathType: Prefix, backend: {service: {name: proxy-public, port: {number: 80}}}}]}}]}}\nYAML\nsleep 3",
            f"{KUBECTL} delete ingress more && sleep 3",
        ),
        only="binder",
        binder__health="ask BinderHub for /health: HTTP ",
    ),
    harm(
        "another build image than the values'",
        settings("s#build_image: .*#build_image: example.org/other:1#"),
        only="binder",
        binder__versions="example.org/other:1",
    ),
]
ALL = {one.name: one for one in HARMS}
# These break nothing that another one needs to be seen.
QUIET = [
    ALL[name]
    for name in (
        "containerd has a wrong password for the registry",
        "the push registry asks nobody for a password",
        "somebody opened a port in the firewall",
        "the builds' network policy is gone",
        "a server that is not there is answered",
        "something answers where nothing is",
    )
]
# Beside these, others need no run of their own each time: `make soak` has them all, one by one.
LOUD = [
    ALL[name]
    for name in (
        "push registry stopped",
        "the registry's name is not in the node's hosts",
        "the pull registry takes pushes",
        "hub down",
        "quota 0, and BinderHub asks another registry",
        "another build image than the values'",
    )
]
DEEP = [
    harm(
        "the push registry takes no pushes",
        kept(
            f"{ETC}/registry-push.yaml",
            r"sed -i -E '/readonly:/{n;s/enabled: false/enabled: true/}'",
            restarted("push"),
        ),
        only="registry",
        deep=True,
        registry__push="begin an upload",
    ),
    harm(
        "the two registries look into different folders of the bucket",
        kept(
            f"{ETC}/registry-pull.yaml", "sed -i 's/^  s3:/  s3:\\n    rootdirectory: \\/elsewhere/'", restarted("pull")
        ),
        only="registry",
        deep=True,
        registry__pull="cannot be pulled: HTTP 404",
    ),
    harm(
        "containerd may look for images and not fetch them",
        kept(CERTS, """sed -i 's/capabilities = .*/capabilities = ["resolve"]/'""", "true"),
        only="registry",
        deep=True,
        registry__containerd_pull="containerd did not pull",
    ),
    harm(
        "a folder where the builder's socket should be",
        (f"mv {SOCKET} {SOCKET}.kept && mkdir {SOCKET}", f"rmdir {SOCKET} && mv {SOCKET}.kept {SOCKET}"),
        only="isolation.build",
        deep=True,
        buildkit__socket="a folder",
    ),
    harm(
        "what was pushed becomes an index",
        (
            f"cat > {WATCH} <<'PY'\n{INDEXES}\nPY\nsetsid python3 {WATCH} > {WATCH}.log 2>&1 < /dev/null &\nsleep 1",
            f"kill $(cat {WATCH}.pid); cat {WATCH}.log",
        ),
        only="pipeline.pushed",
        deep=True,
        pipeline__pushed="is an index",
    ),
    harm(
        "neither firewall nor policy of users' servers",
        (
            f"nft delete table inet binder_node; {KUBECTL} get netpol singleuser -o yaml > {POLICIES} && "
            f"{KUBECTL} delete netpol singleuser",
            f"systemctl restart binder-node-firewall; {KUBECTL} apply -f {POLICIES}",
        ),
        only="isolation",
        deep=True,
        machine__firewall="the firewall is not whole",
        isolation__policies="a user's server",
        isolation__build="kubelet at the node",
        isolation__server="Service binder",
    ),
]
