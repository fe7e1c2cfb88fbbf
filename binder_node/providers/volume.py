"""The volume as the node's state folder: formatted once, mounted at every boot. Through ssh, so that failures are seen.

User-data would have to name a volume that is made after the server: which location the server ends up in is known
only then.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from binder_node import remote
from binder_node.errors import StepError
from binder_node.node import Access

# A volume is there some seconds after the API says so.
DEVICE_SECONDS = 60
FORMAT_SECONDS = 300


def script(device: str, state: Path) -> str:
    """Mount ``device`` at ``state``, now and at every boot; twice is no error.

    A volume with a filesystem is never formatted, and a folder with something in it is never covered. Without its
    volume a machine still boots and lets us in (``nofail``), but the folder below is immutable then: nothing writes
    the node's state beside it.
    """
    return f"""\
set -e
device={shlex.quote(device)} state={shlex.quote(str(state))}
if ! command -v mkfs.xfs >/dev/null; then
  apt-get -q -o DPkg::Lock::Timeout=120 update >&2
  apt-get -qy -o DPkg::Lock::Timeout=120 install xfsprogs >&2
fi
for second in $(seq {DEVICE_SECONDS}); do [ -e "$device" ] && break; sleep 1; done
[ -e "$device" ] || {{ echo "$device is not there" >&2; exit 1; }}
if ! mountpoint -q "$state"; then
  [ -n "$(blkid -p -o value -s TYPE "$device" || true)" ] || mkfs.xfs -q "$device"
  mkdir -p "$state"
  if [ -n "$(ls -A "$state")" ]; then echo "$state is not empty: move what is in it to the volume" >&2; exit 1; fi
  chattr +i "$state" 2>/dev/null || true
fi
uuid=$(blkid -p -o value -s UUID "$device")
line="UUID=$uuid $state xfs defaults,nofail,x-systemd.device-timeout=120 0 0"
grep -qxF "$line" /etc/fstab || {{ sed -i "\\\\# $state #d" /etc/fstab; echo "$line" >> /etc/fstab; }}
systemctl daemon-reload
mountpoint -q "$state" || mount "$state"
if [ "$(mountpoint -d "$state")" != "$(mountpoint -x "$device")" ]; then
  echo "another disk is mounted at $state" >&2; exit 1
fi
xfs_growfs "$state" >/dev/null
"""


def mounted(access: Access, device: str, state: Path) -> bool:
    """Whether ``device`` is what is mounted at ``state``, and will be after a boot."""
    path, source = shlex.quote(str(state)), shlex.quote(device)
    at_boot = f"grep -qF {shlex.quote(f' {state} xfs ')} /etc/fstab"
    look = f'[ "$(mountpoint -d {path})" = "$(mountpoint -x {source})" ] && {at_boot}'
    return remote.run(access, look, check=False).code == 0


def mount(access: Access, device: str, state: Path) -> None:
    """Raises StepError with what the machine said."""
    shell = "sh -s" if access.user == "root" else "sudo -n sh -s"
    done = remote.run(access, shell, input=script(device, state), timeout=FORMAT_SECONDS, check=False)
    if done.code != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.code}"]
        raise StepError(
            access.name, f"mount the volume at {state}", reason[0], f"look with `binder-node ssh {access.name}`"
        )
