"""A systemd-nspawn machine on this computer: real systemd, real sshd, its own network namespace."""

from binder_node.providers.local.plan import bridge_name

__all__ = ["bridge_name"]
