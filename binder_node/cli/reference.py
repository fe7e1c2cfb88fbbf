"""The command line's reference as Markdown, from the Typer app. ``python -m binder_node.cli.reference`` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

INTRODUCTION = """\
# The command line

<!-- Made by `python -m binder_node.cli.reference`; a test compares. -->

`binder-node COMMAND NODE ...`: NODE is a name, which stands for `inventories/NODE.yaml`, or the path of an inventory.
`binder-node COMMAND --help` shows what is on this page. In a checkout, `uv run binder-node` runs it.
"""

OUTPUT = """
## Output

People read stderr: one line an event, tables, warnings, errors. Stdout is for what a program takes: `kubeconfig`'s
file, `logs`' lines, what the code of `launch --run` printed, and everything that `-o json` or `-o yaml` gives. There is
no colour where stderr is no terminal, or where `NO_COLOR` is set.

These write one document, in JSON or YAML:
"""
DOCUMENTS = {
    "check": '`{"ok", "warnings", "file", "spec", "computed"}`; a wrong inventory: '
    '`{"ok": false, "problems": [PROBLEM]}`. A warning and a problem are `{"file", "line", "path", "wrong", "right"}`.',
    "plan": '`{"node", "count", "cost", "stages": [{"stage", "changes": [{"stage", "action", "what", "diff"}]}]}`',
    "status": '`{"node", "url", "address", "certificates": [{"name", "expires", "days", "issuer", "trouble"}], '
    '"jobs": [{"job", "result", "ended", "seconds", "said", "succeeded", "failures"}], '
    '"stages": {STAGE: {"ok", "changes", "seen"}}}`. `jobs` is what timers did last. `changes` are texts; what '
    "is in `seen` is the stage's own and may change. While a node is replaced: `rotation`, "
    '`{"old", "new", "step", "on", "sentence"}`.',
    "status --all": '`{"ok", "nodes": [{"node", "well", "state", "at", "took", "url", "troubles", "changes": '
    '{STAGE: count}, "inside", "reasons", "pods", "quota", "answer", "cpu", "cpus", "memory", "memory_all", "disk", '
    '"disk_all", "users", "builds", "certificate", "backup", "rotation"}]}`: seconds, bytes, days, hours; null where '
    "it could not be seen. The same for several nodes. With `--watch`: an event a node and look, `data` such a node.",
    "rotate": 'with `--dry-run`: `{"old", "new", "phases": [{"step", "what", "likely", "most"}], "cost": '
    '{"likely", "most"}, "currency"}`, in seconds; null where there is no limit, or no price',
    "smoke": '`{"node", "ok", "seconds", "deep_left_out", "checks": [{"id", "layer", "about", "outcome", "seconds", '
    '"reason", "remedy", "because", "traceback", "guide"}]}`; `outcome` is `ok`, `failed`, `blocked` (because of the '
    "failed ones in `because`) or `skipped`",
    "upgrade": 'with `--show`: `{"node", "components": [{"component", "runs", "made_of", "pinned", "why"}]}`; `why` is '
    "empty where all three are the same",
    "pins outdated": '`{"file", "behind", "unknown", "diff", "components": [{"name", "pins", "pinned", "offered", '
    '"newest", "state", "by", "why", "notes": [{"version", "url"}]}]}`; `state` is `current`, `behind`, `hand`, '
    "`beyond`, `ahead`, `own` or `unknown`; `behind` and `unknown` are counts",
    "pins update": "the same, and `written`",
    "alerts": '`{"node", "alerts": [{"name", "state", "severity", "since", "says", "do", "runbook", "labels"}], '
    '"blind": {TARGET: reason}, "broken": [RULE], "alive", "to", "deadman", '
    '"tried": {WAY: "sent" | "failed" | "waits"}}`; '
    "`alive`: Prometheus evaluates; `tried`: with `--test`",
    "secrets init": '`{"node", "back_up", "identity", "identity_made", "public", "file", "file_made", "recipients", '
    '"missing"}`',
    "secrets show --names": '`{"node", "file", "encrypted_for", "secrets": [{"name", "kind", "purpose", "created", '
    '"changed", "origin", "used"}]}`; never a value',
    "secrets rotate": '`{"node", "rotated": [{"name", "restarts", "effect"}], "left": [{"name", "reason"}], '
    '"in_force", "before"}`; `in_force` is true for ssh keys that the machine has already',
    "secrets recipients": '`{"node", "file", "agrees", "listed_in", "readers": [{"key", "kind", "comment", "source", '
    '"encrypted"}], "encrypted_for", "added", "removed", "others"}`',
    "destroy": 'with `--show`: `{"node", "gone": [text], "kept": [text]}`',
    "cost": '`{"node", "offer", "lines": [{"what", "unit_price", "unit", "count", "monthly", "fixed"}], "unknown", '
    '"currency", "monthly", "fixed", "with_vat", "sessions", "per_session", "carries", "per_carried", "max_price"}`. '
    "Money is a text, exact and without VAT; `fixed` is what is paid whatever is used; `unknown` has no price here; "
    "`plan` has the same under `cost`, or null.",
    "offers": "a list of the same, without `node` and `max_price`",
    "federation ramp --plan": '`{"member", "weight", "target", "why", "steps": [weight]}`',
    "federation warm": '`{"asked", "ready", "built", "failed", "failed_here_alone", "skipped", "covered", "launches": '
    '[{"path", "launches", "ready", "built", "seconds", "why", "there", "skipped", "limited"}]}`',
    "federation token": '`{"node", "ok", "why", "remedy"}`',
    "eject": '`{"node", "folder", "files", "bytes", "address"}`',
    "events": '`{"node", "first", "last", "launches", "failures", "days": [{"day", "launches", "failures"}], '
    '"repositories": [{"repository", "launches"}], "reasons": [{"message", "failures", "repositories", "phase"}], '
    '"archived", "archive_error", "waiting"}`; `failures` is null with `--bucket`',
    "leftovers": '`[{"kind", "name", "id", "node", "note"}]`',
    "federation check": '`{"ok", "config", "prime", "rules", "members": [{"name", "url", "prime", "weight", "inside", '
    '"cause", "reasons", "pods", "quota", "attempts", "took", "slowest"}]}`; with `--redirector` each has '
    "`redirector`. `cause` is the label in the redirector's metrics. With `--watch`: an event a check, its `data` such "
    "a member and `changed`.",
    "federation simulate": '`{"before", "after"}`, each `{"seconds", "requests", "refused", "failed", "members": '
    '[{"name", "weight", "quota", "requests", "share", "by_cookie", "refused", "failed", "builds", "peak", "drops", '
    '"out_seconds"}], "step", "series": {"lost", "members": {NAME: {"sent", "pods", "inside"}}}}`; `before` is null '
    "where nothing happens",
    "artifacts list": '`[{"name", "version", "kind", "needed", "source", "from", "cached", "sha256", "size"}]`; `path` '
    "where it is cached",
    "artifacts verify": '`{"cache", "ok", "files": [{"path", "sha256", "size", "good"}]}`',
}
EVENTS = """
`up`, `rotate`, `upgrade`, `launch`, `artifacts fetch|build|bundle` and `federation ramp|drain|undrain|follow` write one
event a line while they run, always as JSON: `{"kind", "stage", "message", "data", "at"}`. `kind` is one of `start`,
`done`, `failed`, `progress`, `change`, `log` and `warn`; `at` is in seconds since 1970. `stage` is `machine`, `names`,
`host`, `storage` or `release`, or `artifacts`, `up`, `rotate`, `upgrade`, `smoke`, `launch`, `ramp`, `drain`, `follow`.
A step's `done` has `data.seconds`. The `data` of the last line is the outcome:
"""
OUTCOMES = {
    "up": '`{"node", "changes", "seconds", "stages": {STAGE: seconds}, "address", "url"}`',
    "rotate": '`{"old", "new", "abort", "steps": [text]}`: the steps of this run',
    "upgrade": '`{"node", "done": [{"component", "old", "new", "seconds"}], "failed": {"component", "old", "new", '
    '"why"}, "left": {COMPONENT: why}, "seconds"}`; `failed` is null where nothing went back',
    "launch": '`{"phase", "phases", "seconds_by_phase", "url", "output", "failed"}`',
    "federation ramp": '`{"from", "what", "weight", "reasons", "seen"}`: `what` is `go`, `hold`, `back` or `done`, '
    "`seen` the numbers of the window",
    "federation drain": '`{"sessions", "likely", "most", "diff"}`, in seconds',
    "federation follow": '`{"what", "message", "canary", "minutes"}`: `what` is `parity`, `out`, `silent`, `changed`, '
    "`upgraded`, `failed` or `refused`",
    "artifacts fetch, build": '`{"artifacts": [{"name", "version", "path", "sha256", "size"}]}`',
    "artifacts bundle": '`{"folder", "artifacts"}`, each as above',
}

EXIT_CODES = {
    0: "Done. For `status`: every stage is as its inventory says, every node is well.",
    1: "A step failed, and the message says where, why and what to do; or `status` found changes, `smoke` a failure, "
    "`leftovers` something, `upgrade` took a component back, a launch or its code failed, `artifacts verify` found a "
    "damaged file, `federation check` a member that is out, `pins outdated` something newer, `pins` a feed that did "
    "not answer. With a traceback: a bug of ours.",
    2: "The input is wrong: an option, an inventory, a name that was not confirmed. Nothing was touched.",
    3: "A wait ran out; the message says what was waited for and what was seen last. Run the same command again.",
    4: "Another run holds the node's lock; the message names it.",
    130: "Interrupted by Ctrl-C or a polite `kill`. Run the same command again.",
}

# Read by the package on the operator's machine. A test looks for others in the code.
VARIABLES = {
    "BINDER_NODE_PINS": "As `--pins`.",
    "BINDER_NODE_SOURCE": "As `--source`.",
    "BINDER_NODE_BUNDLE": "As `--bundle`.",
    "BINDER_NODE_SMOKE_REPOSITORY": "As `--repository` of `smoke`, `upgrade` and `rotate`.",
    "BINDER_NODE_SMOKE_PUSH_TO": "As `--push-to` of `smoke`, `upgrade` and `rotate`.",
    "BINDER_NODE_DEBUG": "As `--debug`.",
    "BINDER_NODE_BACKUP_ACCESS_KEY": "Key of another place for backups (`backup.endpoint`): said at the first `up`, "
    "or to replace it; kept with the node's secrets.",
    "BINDER_NODE_BACKUP_SECRET_KEY": "Its secret half.",
    "BINDER_NODE_S3_ACCESS_KEY": "Key of a bucket elsewhere (`storage.kind: s3`): said at the first `up`, or to "
    "replace it; kept with the node's secrets.",
    "BINDER_NODE_S3_SECRET_KEY": "Its secret half.",
    "BINDER_NODE_IDENTITY": "The age identity that opens the secrets, or an OpenSSH private key (ed25519 or RSA) "
    "without a passphrase. Default: `~/.config/binder-node/identity.txt`. Back it up.",
    "RFC2136_TSIG_SECRET": "Secret of the key that writes records (`dns.kind: rfc2136`), in base64.",
    "GITHUB_TOKEN": "A token of GitHub's, without any right, for `pins`: more requests than 60 an hour.",
    "CLOUDFLARE_API_TOKEN": "Token of Cloudflare's API (`dns.kind: cloudflare`).",
    "BINDER_NODE_SECRETS_DIR": "Folder of `NODE.age`. Default: `secrets/` beside the folder of the inventories.",
    "BINDER_NODE_STATE": "Folder for ssh configurations and locks; all of it is made again when it is lost. Default: "
    "`~/.local/state/binder-node`.",
    "BINDER_NODE_CACHE": "Folder for artifacts and root filesystems. Default: `~/.cache/binder-node`.",
    "BINDER_NODE_LOCAL_DIR": "Folder for the machines of the provider `local`. Default: "
    "`~/.local/share/binder-node/machines`.",
    "HCLOUD_TOKEN": "The API token of a project at Hetzner Cloud (`provider.kind: hetzner`, `dns.kind: hetzner`, "
    "`offers`, `leftovers`).",
    "NO_COLOR": "Set to anything: no colours.",
}

COMPLETION = """
## Shell completion

`binder-node --install-completion` sets it up for the shell that it is run from (bash, zsh, fish, PowerShell);
`--show-completion` prints it instead. Names of nodes complete from `inventories/`, names of artifacts from the pins.
"""


def markdown() -> str:
    """The whole page."""
    import typer

    from binder_node.cli.lazy import LazyCommand, LazyGroup
    from binder_node.cli.main import app

    root: Any = typer.main.get_command(app)
    lines = [INTRODUCTION, "## Options of every command", ""]
    lines += _table("Option", [param for param in root.params if not param.name.endswith("_completion")])
    lines += ["", "They stand before the command: `binder-node --debug up bids`."]
    for name, command in root.commands.items():
        if isinstance(command, LazyGroup):
            lines += ["", f"## {name}", "", str(command.help)]
            for sub, subcommand in command.loaded().items():
                lines += _command(f"{name} {sub}", subcommand, "###")
        else:
            lines += _command(name, command.loaded() if isinstance(command, LazyCommand) else command)
    lines += [OUTPUT, *_pairs("Command", "Document", DOCUMENTS)]
    lines += [EVENTS, *_pairs("Command", "Outcome", OUTCOMES)]
    lines += [
        "",
        "When a command fails there is no outcome: the events end, and the error is on stderr. A launch"
        " whose build or code fails has one, with `failed`.",
    ]
    lines += ["", "## Exit codes", "", *_pairs("Code", "Meaning", EXIT_CODES)]
    lines += ["", "`ssh` and `logs` end with the code of what ran on the node, or 255 when ssh itself failed."]
    lines += ["", "## Environment", "", *_pairs("Variable", "Meaning", VARIABLES)]
    lines.append(COMPLETION)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any, level: str = "##") -> Iterator[str]:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    usage = " ".join([name, *(_metavar(param) for param in arguments), *(["[OPTIONS]"] if options else [])])
    yield from ("", f"{level} {name}", "", command.help, "", f"    binder-node {usage}", "")
    if arguments:
        yield from (*_table("Argument", arguments), "")
    if options:
        yield from (*_table("Option", options), "")
    yield from ("```console", *(f"$ {example}" for example in examples(command)), "```")


def examples(command: Any) -> list[str]:
    """The examples in a command's ``--help``, each a line for a shell."""
    _, _, text = (command.epilog or "").partition(":  ")
    return [example.strip() for example in text.split("·") if example.strip()]


def _pairs(left: str, right: str, rows: Mapping[Any, str]) -> Iterator[str]:
    yield from (f"| {left} | {right} |", "|---|---|")
    yield from (f"| `{key}` | {text} |" for key, text in rows.items())


def _table(head: str, params: list[Any]) -> Iterator[str]:
    yield f"| {head} | Default | Meaning |"
    yield "|---|---|---|"
    for param in params:
        cells = (_spelled(param), _default(param), param.help or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_metavar(param)}`"
    value = "" if param.is_flag else f" {_metavar(param)}"
    return f"`{', '.join(param.opts)}{value}`"


def _metavar(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    if isinstance(param.default, Enum):
        return "|".join(str(member.value) for member in type(param.default))
    name = param.name.upper().replace("_", "-")
    return name if param.required or param.param_type_name == "option" else f"[{name}]..."


def _default(param: Any) -> str:
    if param.required:
        return "required"
    value = param.default.value if isinstance(param.default, Enum) else param.default
    return "" if value in (None, "", False) else f"`{value}`"


__all__ = ["examples", "markdown"]

if __name__ == "__main__":
    sys.stdout.write(markdown())
