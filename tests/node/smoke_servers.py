"""What an image, the hub or Kubernetes may do to a user's server, each with the check that has to see it."""

from __future__ import annotations

from tests.node.smoke_harms import harm, settings
from tests.testbed.images import recipes

MUTE = "import builtins\nbuiltins.print = lambda *words, **more: None\n"
# The token that the hub gives is left out of the server's arguments: it asks nobody for one.
OPEN = """\
#!/bin/sh
for word; do
    shift
    case $word in *.token=*) word="${word%%=*}=" ;; esac
    set -- "$@" "$word"
done
exec "$@" --ServerApp.disable_check_xsrf=True
"""
# Repositories that the world has not: files by name. Each is the testbed's base image with something of its own.
OWN = {
    "deaf": {"Dockerfile": f'FROM {recipes.BASE_IMAGE}\nENTRYPOINT ["/bin/sh", "-c", "sleep 900"]\n'},
    "again": {
        "Dockerfile": f"FROM {recipes.BASE_IMAGE}\n"
        'ENTRYPOINT ["/bin/sh", "-c", "while :; do \\"$0\\" \\"$@\\"; done"]\n'
    },
    "mute": {
        "Dockerfile": f"FROM {recipes.BASE_IMAGE}\n"
        "COPY --chown=1000:100 mute.py /home/jovyan/.ipython/profile_default/startup/mute.py\n",
        "mute.py": MUTE,
    },
    "open": {
        "Dockerfile": f'FROM {recipes.BASE_IMAGE}\nCOPY open.sh /open.sh\nENTRYPOINT ["/bin/sh", "/open.sh"]\n',
        "open.sh": OPEN,
    },
}
UNTAG = "/root/untag.py"
# On the node: takes the tag off each image that was on the node and is not any more.
UNTAGGING = f"""
import base64, json, os, subprocess, time, urllib.request
with open("{UNTAG}.pid", "w") as own:
    own.write(str(os.getpid()))
get = ["k3s", "kubectl", "-n", "binder", "get", "secret", "binder-build-docker-config", "-o", "json"]
config = json.loads(base64.b64decode(json.loads(subprocess.check_output(get))["data"]["config.json"]))
login = {{"Authorization": "Basic " + next(iter(config["auths"].values()))["auth"]}}
def images():
    found = json.loads(subprocess.check_output(["k3s", "crictl", "images", "-o", "json"]))["images"]
    return {{tag for one in found for tag in one["repoTags"] or () if "minimal" in tag}}
seen = images()
while True:
    now = images()
    for name in seen - now:
        where, _, tag = name.partition("/")[2].rpartition(":")
        url = f"http://127.0.0.1:5000/v2/{{where}}/manifests/{{tag}}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=login, method="DELETE")) as answer:
            print(name, answer.status, flush=True)
    seen = now
    time.sleep(0.2)
"""
STAY = "/root/stay.py"
# On the node: the second server's pod is held by a finalizer for longer than anybody waits for its end.
STAYING = f"""
import json, os, subprocess, time
with open("{STAY}.pid", "w") as own:
    own.write(str(os.getpid()))
kubectl = ["k3s", "kubectl", "-n", "binder"]
def hold(name, finalizers):
    change = json.dumps({{"metadata": {{"finalizers": finalizers}}}})
    subprocess.run([*kubectl, "patch", "pod", name, "--type=merge", "-p", change], check=True)
seen = []
while len(seen) < 2:
    found = subprocess.check_output([*kubectl, "get", "pods", "-l", "component=singleuser-server", "-o", "name"])
    seen += [name for line in found.decode().split() if (name := line.partition("/")[2]) not in seen]
    time.sleep(0.2)
hold(seen[-1], ["example.org/stay"])
time.sleep(130)
hold(seen[-1], None)
"""
# Those that wait for minutes come last.
SERVERS = [
    harm(
        "the repository's image starts its server again whenever it ends",
        ("true", "true"),
        only="pipeline.pulled",
        deep=True,
        repository="again",
        pipeline__pulled="waited 30 s for the server to stop",
    ),
    harm(
        "an image loses its tag when the node loses it",
        (
            f"cat > {UNTAG} <<'PY'\n{UNTAGGING}\nPY\nsetsid python3 {UNTAG} > {UNTAG}.log 2>&1 < /dev/null &\nsleep 1",
            f"kill $(cat {UNTAG}.pid); cat {UNTAG}.log",
        ),
        only="pipeline.relaunch",
        deep=True,
        pipeline__relaunch="it builds anew",
    ),
    harm(
        "the repository's image swallows what is printed",
        ("true", "true"),
        only="kernel.code",
        deep=True,
        repository="mute",
        kernel__code="printed 'nothing'",
    ),
    harm(
        "the repository's image leaves the server's token out",
        ("true", "true"),
        only="kernel",
        deep=True,
        repository="open",
        kernel__token="lists its kernels to whoever asks",
    ),
    harm(
        "the hub gives servers more rights than ours",
        settings(
            "s/allowPrivilegeEscalation: false/allowPrivilegeEscalation: true/; "
            "s/automountServiceAccountToken: false/automountServiceAccountToken: true/",
            "hub",
            "hub",
        ),
        only="isolation.rights",
        deep=True,
        isolation__rights="holds a token for the Kubernetes API",
    ),
    harm(
        "the repository's image starts something that serves nobody",
        ("true", "true"),
        only="pipeline.launch",
        deep=True,
        repository="deaf",
        pipeline__launch="the image was built, its server did not come up",
    ),
    harm(
        "the pod of a server that was stopped stays",
        (
            f"cat > {STAY} <<'PY'\n{STAYING}\nPY\nsetsid python3 {STAY} > {STAY}.log 2>&1 < /dev/null &\nsleep 1",
            f"timeout 150 sh -c 'while kill -0 $(cat {STAY}.pid) 2>/dev/null; do sleep 1; done'; cat {STAY}.log",
        ),
        only="shutdown",
        deep=True,
        shutdown__server="waited 90 s for the server's pod to go",
    ),
]
