"""Failures to put into a node, each with the check that has to see it, and what puts it back.

Shell, run on the node as root with its name and address as $NODE and $ADDRESS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

K = "k3s kubectl"
STATE = "/var/lib/binder-node"
KUBELET = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/99-binder-node.conf"
SCHEDULER = "/var/lib/rancher/k3s/server/tls/client-scheduler.crt"
CONTAINERD = "/run/k3s/containerd/containerd.sock"
BUILDKITD, CNI = "/etc/buildkit/buildkitd.toml", "/etc/buildkit/cni.conflist"
BUILD_SOCKET = "/run/buildkit/buildkitd.sock"
ENGINE = f"{STATE}/engine/site/binder_node_engine/engine.py"
MINIO = "/etc/binder-node/minio.env"


@dataclass(frozen=True, slots=True)
class Fault:
    """``checks`` fail when ``inject`` has run; ``mend`` puts everything back, and waits until it is."""

    checks: tuple[str, ...]
    inject: str
    mend: str

    @property
    def name(self) -> str:
        return "+".join(self.checks)


def fault(checks: str, inject: str, mend: str) -> Fault:
    return Fault(tuple(checks.split()), inject, mend)


def edited(file: str, change: str) -> tuple[str, str]:
    """Commands that edit a file by sed, and that put it back with its times and owner."""
    kept = f"{file}.before"
    # The copy lies elsewhere where the folder is read as a whole.
    if file == KUBELET:
        kept = "/root/kubelet.before"
    return f"cp -p {file} {kept} && sed -i '{change}' {file}", f"cp -p {kept} {file} && rm {kept}"


def until(what: str, seconds: int = 60) -> str:
    return f"timeout {seconds} sh -c 'until {what}; do sleep 0.3; done'"


def scaled(deployment: str, label: str) -> tuple[str, str]:
    """Commands that take a deployment's pods away and bring them back."""
    scale, gone = f"{K} scale -n kube-system deployment/{deployment}", f"--for=delete pod -l {label} --timeout=60s"
    return (
        f"{scale} --replicas=0 && {K} wait -n kube-system {gone}",
        f"{scale} --replicas=1 && {K} rollout status -n kube-system deployment/{deployment} --timeout=60s",
    )


def instead(program: str, script: str) -> tuple[str, str]:
    """Commands that put another program in a program's place, and take it away.

    A container's clock and cores are its host's: what tells them tells other ones.
    """
    place = f"/usr/local/bin/{program}"
    return f"printf '#!/bin/sh\\n%s\\n' '{script}' > {place} && chmod 755 {place}", f"rm {place}"


K3S_AGAIN = f"systemctl restart k3s && {until(f'{K} get --raw /readyz >/dev/null 2>&1')}"
# Kubernetes' own word for the node, and buildkitd, which comes and goes with its containerd.
SETTLED = until(f"test -S {BUILD_SOCKET} && {K} wait --for=condition=Ready node --all --timeout=1s >/dev/null 2>&1")
# The kubelet tells the API its new limits with its next status.
TOLD = until(f'test "$({K} get node -o jsonpath={{.items[0].status.capacity.pods}})" != $BEFORE', 20)
# The registries look at their store every ten seconds, and refuse everything after three looks in vain.
REGISTRY_UP = " && ".join(
    until(f'test "$(curl -s -o /dev/null -w %{{http_code}} http://127.0.0.1:{port}/v2/)" = 401')
    for port in (5000, 5001)
)
# The cache asks nobody who he is.
CACHE_SAYS = "$(curl -s -o /dev/null -w %{http_code} http://127.0.0.1:5002/v2/)"
CACHE_UP = until(f'test "{CACHE_SAYS}" = 200')
# Or one that was stopped.
CACHE_WELL = until(f'test "{CACHE_SAYS}" != 503')
CACHE, CACHE_AGAIN = "/etc/binder-node/registry-cache.yaml", f"systemctl restart registry-cache && {CACHE_UP}"
NO_HUB = edited(CACHE, "s#remoteurl: .*#remoteurl: http://127.0.0.1:9#")
MINIO_UP = f"{until('curl -sf http://127.0.0.1:9000/minio/health/ready')} && {REGISTRY_UP} && {CACHE_WELL}"
# Root's own: the limits of another user's process are not ours to change where CAP_SYS_RESOURCE is missing.
BUILDKIT_PID = "PID=$(systemctl show -p MainPID --value buildkit)"
FIREWALL_AGAIN = "systemctl restart binder-node-firewall"

ENDED = '{"status": {"phase": "Failed", "reason": "OutOfpods"}}'
DEAD = "".join(
    f"""
{K} apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata: {{name: dead-{number}, namespace: binder, labels: {{component: singleuser-server}}}}
spec: {{schedulerName: nobody, containers: [{{name: a, image: none/none:1}}]}}
EOF
{K} patch pod -n binder dead-{number} --subresource=status -p '{ENDED}'
"""
    for number in range(4)
)
BROKEN_POD = f"{K} run -n kube-system broken --image=none/none:1 --image-pull-policy=Never && " + until(
    f"{K} get pod -n kube-system broken -o jsonpath={{.status.containerStatuses}} | grep -q ErrImageNeverPull", 20
)
PRESSURE = (
    '{"status": {"conditions": [{"type": "DiskPressure", "status": "True", "reason": "Injected", "message": "full"}]}}'
)
# The kubelet says otherwise every ten seconds.
PRESSED = (
    f"echo '{PRESSURE}' > /root/pressure && systemd-run -q --unit=press sh -c \"while :; do {K} patch node $NODE "
    '--subresource=status --patch-file=/root/pressure; sleep 0.3; done"; '
    + until(f"{K} get node $NODE -o jsonpath={{.status.conditions}} | grep -q Injected", 20)
)
# Whatever root asks of MinIO, the checks' questions among it, goes through this, and is answered an hour ago.
LATE_BUCKET, LATE_PORT = "/run/late-bucket.py", 9999
LATE_ANSWERS = f"""
import email.utils, re, socket, threading, time
def pump(source, target, late):
    while data := source.recv(65536):
        date = b"Date: " + email.utils.formatdate(time.time() - 3600, usegmt=True).encode()
        target.sendall(re.sub(rb"(?m)^Date: [^\\r]+", date, data) if late else data)
    target.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", {LATE_PORT})) as server:
    while True:
        asker, store = server.accept()[0], socket.create_connection(("127.0.0.1", 9000))
        for ends in ((asker, store, False), (store, asker, True)):
            threading.Thread(target=pump, args=ends, daemon=True).start()
"""
LATE_RULES = f"""
add table ip late
add chain ip late out {{ type nat hook output priority -110; }}
add rule ip late out oif lo tcp dport 9000 meta skuid 0 redirect to :{LATE_PORT}
"""
NO_TAINT = until(f'test -z "$({K} get node -o jsonpath={{.items[0].spec.taints}})"')


def restarting_k3s() -> Fault:
    change = "s/^maxPods:.*/maxPods: 110/; s/^imageGCHighThresholdPercent:.*/imageGCHighThresholdPercent: 85/"
    inject, mend = edited(KUBELET, change)
    before = f'export BEFORE=$({K} get node -o jsonpath="{{.items[0].status.capacity.pods}}")'
    return fault(
        "k3s.pods k3s.kubelet",
        f"{before}; {inject} && {K3S_AGAIN} && {SETTLED} && {TOLD}",
        f"{before}; {mend} && {K3S_AGAIN} && {SETTLED} && {TOLD}",
    )


def restarting_buildkit() -> Fault:
    change = 's/^networkMode = .*/networkMode = "host"/; s/^maxUsedSpace = .*/maxUsedSpace = "9000000000000"/'
    inject, mend = edited(BUILDKITD, change)
    again = f"systemctl restart buildkit && {until(f'test -S {BUILD_SOCKET}')}"
    return fault("buildkit.network buildkit.collector", f"{inject} && {again}", f"{mend} && {again}")


def restarting_minio() -> Fault:
    inject, mend = edited(MINIO, 's/EXPIRY=.*/EXPIRY="720h"/')
    again = f"systemctl restart minio && {MINIO_UP}"
    return fault("storage.lifecycle", f"{inject} && {again}", f"{mend} && {again}")


# Each of these is one thing out of order that disturbs nothing else, and costs no restart: they can be put in together.
QUIET: tuple[Fault, ...] = (
    fault("machine.size", *instead("nproc", "echo 1")),
    fault("machine.clock", *instead("date", 'exec /usr/bin/date -d "-1 minute" "$@"')),
    fault(
        "storage.clock",
        f"cat > {LATE_BUCKET} <<'PY'\n{LATE_ANSWERS}PY\n"
        f"systemd-run -q --collect --unit=late-bucket --uid=nobody python3 {LATE_BUCKET} && "
        + until(f"ss -Hltn | grep -q 127.0.0.1:{LATE_PORT}", 10)
        + f" && nft -f - <<'NFT'\n{LATE_RULES}NFT\n",
        f"nft delete table ip late; systemctl stop late-bucket; rm {LATE_BUCKET}",
    ),
    fault(
        "machine.sysctls",
        "echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables",
        "echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables",
    ),
    fault(
        "machine.sysctls-kept",
        "echo fs.inotify.max_user_instances=128 > /etc/sysctl.d/99-own.conf",
        "rm /etc/sysctl.d/99-own.conf",
    ),
    fault(
        "machine.open-files",
        f"{BUILDKIT_PID}; prlimit --pid $PID --nofile=1024:",
        f"{BUILDKIT_PID}; prlimit --pid $PID --nofile=$(awk '/^Max open files/ {{print $5}}' /proc/$PID/limits):",
    ),
    fault(
        "machine.swap",
        "rm /etc/systemd/system/swap.target && systemctl daemon-reload",
        "ln -s /dev/null /etc/systemd/system/swap.target && systemctl daemon-reload",
    ),
    fault("machine.clock-kept", "systemctl disable -q systemd-timesyncd", "systemctl enable -q systemd-timesyncd"),
    fault("machine.boot", "systemctl disable -q registry-push", "systemctl enable -q registry-push"),
    fault(
        "machine.failed",
        "systemd-run -q --unit=prune-images false; " + until("systemctl is-failed -q prune-images", 10),
        "systemctl reset-failed prune-images",
    ),
    fault(
        "machine.room",
        "mkdir -p /mnt/logs && mount -t tmpfs -o size=1m logs /mnt/logs && head -c 1000k /dev/zero > /mnt/logs/full",
        "umount /mnt/logs && rmdir /mnt/logs",
    ),
    fault("machine.name", *edited("/etc/hosts", "s/^198[0-9.]* /203.0.113.9 /")),
    fault(
        "machine.outside",
        "nft insert rule inet binder_node from_outside tcp dport 10250 accept",
        FIREWALL_AGAIN,
    ),
    fault(
        "k3s.address",
        f"{K} patch endpointslice -n binder registry-node --type=json "
        '-p \'[{"op": "replace", "path": "/endpoints/0/addresses/0", "value": "203.0.113.9"}]\'',
        f"{K} patch endpointslice -n binder registry-node --type=json "
        '-p "[{\\"op\\": \\"replace\\", \\"path\\": \\"/endpoints/0/addresses/0\\", \\"value\\": \\"$ADDRESS\\"}]"',
    ),
    fault("k3s.dead-pods", DEAD, f"{K} delete pod -n binder --wait=false dead-0 dead-1 dead-2 dead-3"),
    fault(
        "k3s.load-balancers",
        f"{K} create service loadbalancer -n default second --tcp=80:80",
        f"{K} delete service -n default second",
    ),
    fault("k3s.dns", *scaled("coredns", "k8s-app=kube-dns")),
    # After the one before: its pods could not come back.
    fault("k3s.schedulable", f"{K} cordon $NODE", f"{K} uncordon $NODE"),
    fault("buildkit.bridge", *edited(CNI, 's/"mtu": 1450/"mtu": 1500/')),
    fault(
        "machine.jobs",
        "systemctl stop binder-node-retention.timer",
        "systemctl start binder-node-retention.timer",
    ),
    fault("storage.backup", "systemctl stop binder-node-backup.timer", "systemctl start binder-node-backup.timer"),
    fault("storage.events", "systemctl stop binder-node-events.timer", "systemctl start binder-node-events.timer"),
    fault("registry.cache-hub", f"{NO_HUB[0]} && {CACHE_AGAIN}", f"{NO_HUB[1]} && {CACHE_AGAIN}"),
    fault("buildkit.guard", "systemctl stop binder-node-guard", "systemctl start binder-node-guard"),
    fault("buildkit.engine", *edited(ENGINE, "$ a # changed by hand")),
    fault(
        "buildkit.socket",
        f"mv {BUILD_SOCKET} {BUILD_SOCKET}.away && mkdir {BUILD_SOCKET}",
        f"rmdir {BUILD_SOCKET} && mv {BUILD_SOCKET}.away {BUILD_SOCKET}",
    ),
)
# These stop or restart what others stand on: only those that hide nothing of each other go together.
LOUD: tuple[tuple[Fault, ...], ...] = (
    (
        fault("machine.mounts", f"mount -t tmpfs hub {STATE}/hub", f"umount {STATE}/hub"),
        fault("k3s.ingress", *scaled("traefik", "app.kubernetes.io/name=traefik")),
        fault("storage.unit", "systemctl stop minio", f"systemctl start minio && {MINIO_UP}"),
        restarting_buildkit(),
    ),
    (
        fault("registry.cache", "systemctl stop registry-cache", CACHE_AGAIN),
        fault("machine.firewall", "nft flush chain inet binder_node from_builds", FIREWALL_AGAIN),
        # The broken pod first: under pressure it would not even be put onto the node.
        fault("k3s.system-pods", BROKEN_POD, f"{K} delete pod -n kube-system --now broken"),
        fault("k3s.pressure", PRESSED, f"systemctl stop press; rm /root/pressure; {NO_TAINT}"),
        fault(
            "buildkit.unit",
            "systemctl stop buildkit",
            f"systemctl start buildkit && {until(f'test -S {BUILD_SOCKET}')}",
        ),
        restarting_minio(),
    ),
    (fault("k3s.containerd", f"mv {CONTAINERD} {CONTAINERD}.away", f"mv {CONTAINERD}.away {CONTAINERD}"),),
    (restarting_k3s(),),
)


def unready() -> Fault:
    """The kubelet says otherwise every ten seconds, as of DiskPressure above."""
    condition = PRESSURE.replace("DiskPressure", "Ready").replace('"True"', '"False"')
    inject = PRESSED.replace(PRESSURE, condition)
    return fault("k3s.ready", inject, f"systemctl stop press; rm /root/pressure; {SETTLED} && {NO_TAINT}")


KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
# Each of these takes everything with it that there is above it: one by one, in `make soak`.
FATAL: tuple[Fault, ...] = (
    # buildkitd stops with its containerd, and does not come back with it.
    fault(
        "k3s.unit",
        "systemctl stop k3s",
        f"systemctl start k3s && {until(f'{K} get --raw /readyz')} && systemctl start buildkit && {SETTLED}",
    ),
    fault("k3s.api", f"mv {KUBECONFIG} /root/k3s.yaml", f"mv /root/k3s.yaml {KUBECONFIG}"),
    unready(),
    # They are there, and say nothing.
    fault("buildkit.worker", "systemctl kill -s STOP buildkit", "systemctl kill -s CONT buildkit"),
    fault("storage.answers", "systemctl kill -s STOP minio", f"systemctl kill -s CONT minio && {MINIO_UP}"),
)


def together(faults: Iterable[Fault]) -> Fault:
    """Several at once, put back one after the other even where one does not go back."""
    every = list(faults)
    checks = tuple(check for one in every for check in one.checks)
    mends = "; ".join(f"({one.mend}) || failed=1" for one in reversed(every))
    return Fault(checks, " && ".join(f"({one.inject})" for one in every), f"failed=0; {mends}; exit $failed")


def overfull() -> Fault:
    """A cache with a limit of 100 MB, and a build of twice that."""
    inject, mend = edited(BUILDKITD, 's/^maxUsedSpace = .*/maxUsedSpace = "100000000"/')
    again = f"systemctl restart buildkit && {until(f'test -S {BUILD_SOCKET}')}"
    folder = "/root/large"
    build = (
        f"mkdir {folder} && head -c 200M /dev/urandom > {folder}/blob && printf 'FROM scratch\\nCOPY blob /\\n' > "
        f"{folder}/Dockerfile && buildctl --addr unix://{BUILD_SOCKET} build --frontend dockerfile.v0 "
        f"--local context={folder} --local dockerfile={folder} >/dev/null 2>&1"
    )
    return fault("buildkit.cache", f"{inject} && {again} && {build}", f"rm -r {folder}; {mend} && {again}")


OVERFULL = overfull()
