"""``secrets``: a node's secrets, by their names. No command here shows a value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.lifecycle.opened import Opened
    from binder_node.secrets.operations import Readers
    from binder_node.secrets.store import SecretStore

app = typer.Typer(no_args_is_help=True)


def _store(node: str) -> SecretStore:
    from binder_node.secrets.store import SecretStore
    from binder_node.spec.load import find, load

    inventory = find(node)
    return SecretStore(inventory, load(inventory))


def _opened(node: str) -> Opened:
    from binder_node.lifecycle import opened

    return opened.open_spec(node, None)


@app.command(epilog="Examples:  binder-node secrets init bids   ·   binder-node secrets init bids -o json")
def init(node: NodeArgument, output: OutputOption = Output.text) -> None:
    """Make the identity and the node's secrets where they are missing, and say what to back up.

    `up` does the same; this is for whoever wants to share, back up or complete them first.
    """
    from binder_node.cli.output import document, say
    from binder_node.cli.run import errors
    from binder_node.secrets import operations

    with errors():
        made = operations.init(_store(node))
    if output is not Output.text:
        document({"node": node, "back_up": [made.identity], **asdict(made)}, output)
        return
    say(f"identity  {made.identity} ({'made' if made.identity_made else 'was there'}): back it up, never commit it")
    say(f"secrets   {made.file} ({'made' if made.file_made else 'was there'}): encrypted, may be committed")
    for key in made.public:
        say(f"your key  {key}")
    say(f"{made.recipients} can read them; without an identity nobody can, and there is no other way in")
    for name in made.missing:
        say(f"missing: {name}; set it with `binder-node secrets set {node} {name}`")


@app.command(
    epilog="Examples:  binder-node secrets show bids --names   ·   binder-node secrets show bids --names -o json"
)
def show(
    node: NodeArgument,
    names: Annotated[bool, typer.Option("--names", help="Names, kinds and ages.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """List the secrets that a node has, never their values."""
    from binder_node.cli.output import document, say, table
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.secrets import operations

    with errors():
        store = _store(node)
        if not names:
            right = f"say --names; `age --decrypt -i {store.identity} {store.path}` shows everything"
            raise InputError(Problem("", 0, "show", "values are not shown here", right))
        found = operations.names(store)
        count = store.file.encrypted_for()
    if output is not Output.text:
        document({"node": node, "file": store.path, "encrypted_for": count, "secrets": found}, output)
        return
    rows = [[one.name, one.kind, one.changed[:10] or "?", one.origin, one.purpose if one.used else "not used"]
            for one in found]  # fmt: skip
    table("", ["name", "kind", "changed", "by", "for"], rows)
    say(f"{store.path}: {len(found)} secrets, encrypted for {count}")


@app.command(
    epilog="Examples:  binder-node secrets rotate bids   ·   "
    "binder-node secrets rotate bids registry_push_password proxy_token   ·   "
    "binder-node secrets rotate bids host_key --new-machine --yes bids"
)
def rotate(
    node: NodeArgument,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all that can be, when none is named.")
    ] = None,
    new_machine: Annotated[
        bool, typer.Option("--new-machine", help="The machine is made anew: also what only a new one takes.")
    ] = False,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NODE", help="The node's name, instead of asking.")
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Make new values, and say what the next `up` does with each: what restarts, who notices.

    Nothing changes on the node before `up`. The file before stays beside the new one, as NODE.age.old. The ssh keys
    (host_key, login_key), named without others, are changed on the machine at once instead.
    """
    from binder_node.cli.output import document, reporting, say, table
    from binder_node.cli.run import confirm, errors
    from binder_node.lifecycle.lock import locked
    from binder_node.secrets import operations

    with errors():
        opened, store = _opened(node), _store(node)
        if new_machine:
            confirm(f"This locks you out of the machine that {opened.spec.name} has now.", opened.spec.name, yes)
        with locked(opened.runtime, opened.spec.name, "secrets rotate"):
            if operations.on_machine(names or [], new_machine=new_machine):
                from binder_node.lifecycle.keys import rotate_keys

                with reporting(Output.text) as report:
                    done = operations.rotated_on_machine(rotate_keys(opened, store, names or [], report))
            else:
                done = operations.rotate(store, names or [], new_machine=new_machine)
    if output is not Output.text:
        left = [{"name": name, "reason": reason} for name, reason in done.left]
        found = {"node": node, "rotated": done.rotated, "left": left, "in_force": done.in_force}
        document({**found, "before": store.file.old}, output)
        return
    table("", ["new", "restarts", "who notices"], [[one.name, ", ".join(one.restarts), one.effect]
                                                   for one in done.rotated])  # fmt: skip
    for name, reason in done.left:
        say(f"left: {name}: {reason}")
    say(f"{len(done.rotated)} rotated; what they were is in {store.file.old}")
    if not done.in_force:
        say(f"next: binder-node plan {node}, then binder-node up {node}")


@app.command(
    "set",
    epilog="Examples:  binder-node secrets set bids tokens.hcloud   ·   "
    "binder-node secrets set bids s3_secret_key --from key.txt   ·   "
    "binder-node secrets set bids tokens.hcloud --remove",
)
def put(
    node: NodeArgument,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="s3_access_key, s3_secret_key, build_token_secret, tokens.KIND.")
    ],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Read it there instead of stdin.", show_default=False)
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget it; tokens only.")] = False,
) -> None:
    """Keep a value that somebody else made, from stdin or a file. At a terminal it is asked for, unseen."""
    from binder_node.cli.output import say
    from binder_node.cli.run import errors
    from binder_node.lifecycle.lock import locked
    from binder_node.secrets import operations
    from binder_node.secrets.catalog import entry

    with errors():
        opened, store = _opened(node), _store(node)
        if remove:
            operations.drop(store, name)
            say(f"{name}: forgotten")
            return
        text = _value(name, source)
        with locked(opened.runtime, opened.spec.name, "secrets set"):
            changed = operations.put(store, name, text)
    say(f"{name}: {'kept' if changed else 'was so already'}, in {store.path}")
    if changed and (not name.startswith("tokens.") or entry(name).restarts):
        say(f"next: binder-node up {node}")


def _value(name: str, source: Path | None) -> str:
    from binder_node.errors import InputError, Problem
    from binder_node.secrets.operations import LARGEST

    if source is None and sys.stdin.isatty():
        return str(typer.prompt(name, hide_input=True, err=True))
    try:
        if source is not None:
            with source.open("rb") as file:
                return file.read(LARGEST + 1).decode()
        return sys.stdin.buffer.read(LARGEST + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        place = str(source or "stdin")
        raise InputError(Problem(place, 0, name, f"cannot be read: {reason}", "give a file with the value")) from None


@app.command(
    epilog="Examples:  binder-node secrets recipients bids   ·   "
    "binder-node secrets recipients bids --add age1example   ·   "
    "binder-node secrets recipients bids --add 'ssh-ed25519 AAAA... ada' -o json   ·   "
    "binder-node secrets recipients bids --apply"
)
def recipients(
    node: NodeArgument,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="KEY", help="A public key to let in: age1..., ssh-ed25519, ssh-rsa."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="One to put out, as it is listed.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Encrypt for the lists as they were edited.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Show who can read a node's secrets, or change who can: the file is encrypted anew.

    The list is `secrets/recipients`, or `secrets/NODE.recipients` where a node has its own. Who is put out has seen the
    secrets: rotate them.
    """
    from binder_node.cli.output import document, say, table
    from binder_node.cli.run import errors
    from binder_node.secrets import operations

    with errors():
        store = _store(node)
        changing = bool(add or remove or apply)
        found = operations.apply_lists(store, add or [], remove or []) if changing else operations.readers(store)
    if output is not Output.text:
        document({"node": node, "file": store.path, "agrees": found.agrees, **asdict(found)}, output)
        return
    rows = [[one.key if one.kind == "age" else f"{one.kind} ...{one.key[-12:]}", one.comment, one.source or "nowhere",
             "yes" if one.encrypted else "not yet"] for one in found.readers]  # fmt: skip
    table("", ["key", "comment", "listed in", "can read"], rows)
    say(f"{store.path}: encrypted for {found.encrypted_for}; the list is {found.listed_in}")
    for line in _news(node, found):
        say(line)


def _news(node: str, found: Readers) -> Iterator[str]:
    yield from (f"let in: {key}" for key in found.added)
    yield from (f"put out: {key}" for key in found.removed)
    if found.removed:
        yield f"they have seen the secrets: `binder-node secrets rotate {node}`, then `binder-node up {node}`"
    if found.others and (found.added or found.removed):
        yield f"the list holds for {', '.join(found.others)} too: say --apply there, with each one's name"
    if not found.agrees:
        yield f"the list says otherwise: `binder-node secrets recipients {node} --apply` encrypts for it"
