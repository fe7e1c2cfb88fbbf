"""Who may log in: our lines in the login's ``authorized_keys``. Lines of others stay, whoever wrote them."""

from __future__ import annotations

from binder_node.host.wanted import Block, Component
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec


def login(spec: Spec, secrets: Secrets) -> Component:
    """The node's own key and the operators'. sshd reads the file at each login: nothing is restarted."""
    lines = (secrets.login_key_public.strip(), *(key.strip() for key in spec.ssh.admins))
    return Component("login", blocks=(Block(f"~{spec.ssh.user}/.ssh/authorized_keys", lines),))
