"""New ssh keys for a machine that runs: handed over with the old ones, proven, and only then kept as the node's.

Killed anywhere, the machine takes the old pair of keys or the new one, and both are in the age file: the same command
goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from binder_node import remote
from binder_node.errors import BinderNodeError, DeadlineError, InputError, Problem, StepError
from binder_node.events import Reporter, silent, step
from binder_node.host.upload import as_root
from binder_node.lifecycle.opened import Opened
from binder_node.node import Access, Node
from binder_node.secrets.catalog import unused
from binder_node.secrets.document import arrived, with_coming
from binder_node.secrets.generate import KEYS, private_key, public_key
from binder_node.secrets.masked import REVEAL
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore, utc_now

# sshd reads its keys anew within milliseconds of a reload.
SECONDS = 20.0

# The new key comes by stdin: a marked line to add, unless the key is there already.
LET_IN = """\
set -e; umask 077; mkdir -p ~/.ssh; touch ~/.ssh/authorized_keys; read -r new
file=$(readlink -f ~/.ssh/authorized_keys)
grep -qF "$new" "$file" && exit 0
cp -p "$file" "$file.part"
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >> "$file.part"; fi
printf '%s binder-node-new\\n' "$new" >> "$file.part"; mv -f "$file.part" "$file"
"""
# The old key and the new one come by stdin: in each line that has the old one the new one takes its place, with the
# options and between the markers that it had (binder_node.host.login); then the marked line is one too many.
LOCK_OUT = """\
set -e; umask 077; file=$(readlink -f ~/.ssh/authorized_keys); read -r old; read -r new; cp -p "$file" "$file.part"
awk -v old="$old" -v new="$new" '
  NR == FNR { if (index($0, old)) found = 1; next }
  $0 == new " binder-node-new" { if (!found) print new; next }
  { at = index($0, old); if (at) $0 = substr($0, 1, at - 1) new substr($0, at + length(old)); print }
' "$file" "$file" > "$file.part"; mv -f "$file.part" "$file"
"""
# The private key comes by stdin. That a unit has another name, or is started by its socket, is no error: see _prove.
SHOW = """\
set -e; umask 077; cd /etc/ssh; cat > .binder-node-key; ssh-keygen -y -f .binder-node-key > .binder-node-key.pub
chmod 644 .binder-node-key.pub; "$(command -v sshd || echo /usr/sbin/sshd)" -t
mv -f .binder-node-key.pub ssh_host_ed25519_key.pub; mv -f .binder-node-key ssh_host_ed25519_key
for unit in ssh sshd; do systemctl try-reload-or-restart "$unit.service" 2> /dev/null || true; done
"""


def rotate_keys(opened: Opened, store: SecretStore, names: Sequence[str], report: Reporter) -> list[str]:
    """Give the machine new keys for ``names`` (``host_key``, ``login_key``) and keep them as the node's; the names that
    were changed, those of a run before this one that was killed among them.

    Raises:
        InputError: a name is none of them, or nothing of this node uses it; nothing was touched.
        StepError, DeadlineError: the machine is not reached, or does not take the keys; the old ones hold.
    """
    _check(opened, names)
    document = store.document()
    if not document.coming:
        _, document = store.change(lambda old: with_coming(old, {name: private_key() for name in names}))
    # A run that was killed is brought to its end with the keys that it had.
    keys = {name: str(key) for name, key in document.coming.items()}
    publics = {name: public_key(key) for name, key in keys.items()}
    old = store.load()
    new = Secrets.model_validate(
        {**old.model_dump(context=REVEAL), **keys, **{f"{name}_public": half for name, half in publics.items()}}
    )
    access = _reach(opened, old, new)
    with step(report, "machine", f"hand over {' and '.join(keys)}"):
        if "login_key" in keys:
            _do(access, "let the new login key in", LET_IN, f"{new.login_key_public}\n")
        if "host_key" in keys:
            _do(access, "give sshd its new host key", as_root(access, SHOW), f"{keys['host_key'].strip()}\n")
    with step(report, "machine", "log in with the new ones"):
        access = _prove(opened, new)
        if "login_key" in keys:
            halves = (" ".join(one.login_key_public.split()[:2]) for one in (old, new))
            _do(access, "lock the old login key out", LOCK_OUT, "".join(f"{half}\n" for half in halves))
    store.change(lambda now: arrived(now, keys, publics, utc_now()))
    return list(keys)


def _check(opened: Opened, names: Sequence[str]) -> None:
    wrong = [
        Problem("", 0, name, "is not changed together with ssh keys", "rotate it by itself")
        for name in names
        if name not in KEYS
    ]
    wrong += [
        Problem("", 0, name, "nothing of this node uses it", why)
        for name in names
        if name in KEYS and (why := unused(name, opened.spec))
    ]
    if wrong:
        raise InputError(*wrong)


def _do(access: Access, what: str, script: str, given: str) -> None:
    done = remote.run(access, script, input=given, check=False)
    if done.code != 0:
        reason = done.stderr or f"exit code {done.code}"
        raise StepError(access.name, what, reason, "the old keys still hold; mend it and run the same command again")


def _access(opened: Opened, secrets: Secrets) -> Access | None:
    """How the provider reaches the machine with these keys; None when they are not let in, whoever else may be."""
    from binder_node.providers import provider_for
    from binder_node.providers.base import access_to

    opened.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    node = Node(opened.spec, secrets, {}, opened.pins.images, opened.runtime)
    # A connection that is shared was let in with other keys.
    own = access_to(node, "0.0.0.0")
    remote.disconnect(own)
    provider = provider_for(node)
    access = provider.access(provider.inspect(silent))
    # An operator's own key (provider.identity) proves nothing of the node's.
    return access if access is not None and access.config == own.config else None


def _reach(opened: Opened, old: Secrets, new: Secrets) -> Access:
    """With the old keys, or with the new ones where a run before this one got so far."""
    last: BinderNodeError | None = None
    for secrets in (old, new):
        try:
            if (access := _access(opened, secrets)) is not None:
                return access
        except StepError as error:
            last = last or error
    name = opened.spec.name
    raise last or StepError(name, "reach the machine", "there is none that answers", f"run `binder-node up {name}`")


def _prove(opened: Opened, new: Secrets) -> Access:
    deadline, last = time.monotonic() + SECONDS, "the login fails"
    while True:
        try:
            if (access := _access(opened, new)) is not None:
                return access
        except StepError as error:
            last = error.reason
        if time.monotonic() > deadline:
            remedy = "the old keys are kept as the node's; run the same command again"
            raise DeadlineError(opened.spec.name, "the machine to take its new keys", SECONDS, last, remedy)
        time.sleep(0.2)


__all__ = ["rotate_keys"]
