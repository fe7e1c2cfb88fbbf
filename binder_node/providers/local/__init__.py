"""A systemd-nspawn machine on this computer: real systemd, real sshd, its own network namespace."""
