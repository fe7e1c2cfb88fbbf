"""API tokens of providers and DNS: from the environment, from a command of the inventory, or from the age file.

A token is never an argument. It is looked for at each run and kept nowhere but in the age file, and only when the
operator puts it there (``binder-node secrets set NODE tokens.hcloud``).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.node import Node
from binder_node.secrets.masked import MASK, Masked
from binder_node.spec.model import Spec

# A password manager may ask for a passphrase or for a touch of a key before it answers.
COMMAND_SECONDS = 60.0
# Longer than any token; a whole file given by mistake does not become a header.
LONGEST = 8192
# Sections of the inventory that talk to an API: each may have ``token_command``.
SECTIONS = ("provider", "dns")


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of token: its ``name`` in the age file, what it opens, and where the vendor's own tools look for it.

    ``variables`` are environment variables, the first that is set wins; ``sections`` are the values of ``kind`` in
    the inventory whose ``token_command`` gives this token; a password may have spaces, a token never has.
    """

    name: str
    label: str
    variables: tuple[str, ...]
    sections: tuple[str, ...]
    password: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        # The variable of hcloud, Hetzner's own command line. Its DNS zones take the same token.
        Kind("hcloud", "Hetzner Cloud", ("HCLOUD_TOKEN",), ("hetzner",)),
        # The variable of Cloudflare's wrangler and Terraform provider, and the short one of lego and flarectl.
        Kind("cloudflare", "Cloudflare", ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"), ("cloudflare",)),
        # The variables of OpenStack's own clients; user names and URLs come from OS_* or clouds.yaml.
        Kind("openstack", "OpenStack", ("OS_APPLICATION_CREDENTIAL_SECRET", "OS_PASSWORD"), ("openstack",), True),
        # The variable of lego: the base64 secret of the TSIG key.
        Kind("rfc2136", "DNS updates (TSIG)", ("RFC2136_TSIG_SECRET",), ("rfc2136",)),
        # A service account's key, as JSON in one line: BinderHub has it, so that it is read from the age file alone.
        # An access token of Docker Hub; the node has it, so that it is read from the age file alone.
        Kind("dockerhub", "Docker Hub", (), (), True),
        Kind("collector", "the federation's collector of launches", (), (), True),
        # Where alerts go: the node has them (binder_node.spec.metrics), so that they are read from the age file alone.
        Kind("webhook", "alerts by webhook, its URL", (), ()),
        Kind("mail", "alerts by mail, the server's password", (), (), True),
        Kind("zulip", "alerts by Zulip, its bot's API key", (), ()),
        Kind("deadman", "the dead-man's switch, its URL", (), ()),
    )
}


def token(
    where: Node | Spec | str,
    kind: Kind | str,
    environ: Mapping[str, str] | None = None,
    *,
    kept: Mapping[str, Masked] | None = None,
    command: Sequence[str] | None = None,
) -> Masked:
    """The token of ``kind`` for the node ``where``: environment, then command, then age file. Ask once, keep it.

    ``where`` is best a Node: it has both the inventory's command and the age file's tokens. With a Spec or a name
    these are ``kept`` (the age file's ``tokens``) and ``command``; a name may be empty where no node is asked about.

    Raises:
        InputError: there is none in any of the three places, with all three ways to give one; or it is no one-line
            text.
        StepError: the command failed; DeadlineError: it did not end in time.
    """
    found = find(where, kind, environ, kept=kept, command=command)
    if found is None:
        raise InputError(missing(where, _kind(kind)))
    return found


def find(
    where: Node | Spec | str,
    kind: Kind | str,
    environ: Mapping[str, str] | None = None,
    *,
    kept: Mapping[str, Masked] | None = None,
    command: Sequence[str] | None = None,
) -> Masked | None:
    """As :func:`token`, but ``None`` where there is none: for APIs that are also opened in another way."""
    asked = _kind(kind)
    given = os.environ if environ is None else environ
    name, argv, stored = _places(where, asked, kept, command)
    for variable in asked.variables:
        if given.get(variable, "").strip():
            return checked(given[variable], asked, variable)
    if argv:
        return checked(from_command(argv, name or "here", given).reveal(), asked, f"token_command {argv[0]}")
    if (own := stored.get(asked.name)) is not None:
        return checked(own.reveal(), asked, f"tokens.{asked.name} of the age file")
    return None


def missing(where: Node | Spec | str, kind: Kind) -> Problem:
    """What is said where there is no token: the ways in which one can be given."""
    ways = [f"set {kind.variables[0]} in the environment"]
    node, _, _ = _places(where, kind, None, None)
    if section := _section(where, kind):
        ways.append(f"or say in the inventory what prints it ({section}.token_command: [pass, show, {kind.name}])")
    if node:
        ways.append(
            f"or keep it encrypted with the node's secrets (`binder-node secrets set {node} tokens.{kind.name}`)"
        )
    return Problem("", 0, node, f"there is no API token for {kind.label}", ", ".join(ways))


def from_command(
    argv: Sequence[str], host: str, environ: Mapping[str, str], seconds: float = COMMAND_SECONDS
) -> Masked:
    """What ``argv`` prints, run without a shell and without stdin, ended after ``seconds``.

    Raises:
        StepError: it cannot be started, fails (with its stderr), or prints nothing; DeadlineError: it ran too long.
    """
    step = f"run token_command {argv[0]}"
    remedy = "run it by hand; it has to print the token and nothing else"
    try:
        # In this session and process group, so that it can ask at the terminal (/dev/tty) where there is one.
        with subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environ)
        ) as process:
            try:
                out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise DeadlineError(host, step.removeprefix("run "), seconds, "it still ran", remedy) from None
            except BaseException:
                process.kill()
                raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StepError(host, step, reason, "give the full path of a program; there is no shell") from None
    printed = out.decode(errors="replace").strip()
    if process.returncode != 0:
        said = err.decode(errors="replace").strip()
        for line in filter(None, (part.strip() for part in printed.splitlines())):
            said = said.replace(line, MASK)
        raise StepError(host, step, f"exit code {process.returncode}: {said or 'nothing on stderr'}", remedy)
    if not printed:
        raise StepError(host, step, "it printed nothing", remedy)
    return Masked(printed)


def _kind(kind: Kind | str) -> Kind:
    return kind if isinstance(kind, Kind) else KINDS[kind]


def _places(
    where: Node | Spec | str, kind: Kind, kept: Mapping[str, Masked] | None, command: Sequence[str] | None
) -> tuple[str, tuple[str, ...], Mapping[str, Masked]]:
    """The node's name, the inventory's command for this kind, and the age file's tokens."""
    if isinstance(where, str):
        return where, tuple(command or ()), kept or {}
    spec = where.spec if isinstance(where, Node) else where
    stored = where.secrets.tokens if isinstance(where, Node) and kept is None else (kept or {})
    return spec.name, tuple(command_of(spec, kind) if command is None else command), stored


def command_of(spec: Spec, kind: Kind) -> tuple[str, ...]:
    """The inventory's ``token_command`` for ``kind``; empty where it says none."""
    commands = (tuple(getattr(getattr(spec, section), "token_command", ())) for section in _sections(spec, kind))
    return next(filter(None, commands), ())


def _sections(spec: Spec, kind: Kind) -> list[str]:
    return [name for name in SECTIONS if getattr(getattr(spec, name, None), "kind", None) in kind.sections]


def _section(where: Node | Spec | str, kind: Kind) -> str:
    """The section of the inventory that would say ``token_command``; empty where none can."""
    if isinstance(where, str):
        return SECTIONS[0] if where else ""
    spec = where.spec if isinstance(where, Node) else where
    return next((name for name in _sections(spec, kind) if hasattr(getattr(spec, name), "token_command")), "")


def checked(text: str, kind: Kind, place: str) -> Masked:
    """``text`` from ``place`` without the white space around it.

    Raises:
        InputError: it can be no such token; in a header, a line break would begin another header.
    """
    value = text.strip()
    if not value:
        wrong = "is empty"
    elif len(value) > LONGEST:
        wrong = f"has more than {LONGEST} characters"
    elif not value.isprintable() or (not kind.password and (" " in value or not value.isascii())):
        wrong = "has line breaks, spaces or other characters that no token has"
    else:
        return Masked(value)
    raise InputError(Problem("", 0, place, f"the token for {kind.label} {wrong}", "give the token and nothing else"))
