"""From ``inventories/NODE.yaml`` to a complete Spec, or every mistake in it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from binder_node import hostkeys
from binder_node.errors import InputError, Problem
from binder_node.spec import (
    banned,
    rules,
    rules_clouds,  # noqa: F401 - for the rules that it registers
    rules_federation,  # noqa: F401 - as well
    rules_metrics,  # noqa: F401 - as well
    rules_traffic,  # noqa: F401 - as well
    sizing,
)
from binder_node.spec.keys import Key, choices, dotted, required, submodel
from binder_node.spec.model import AGENT, Machine, Spec
from binder_node.spec.problems import nearest, place, sentences
from binder_node.spec.public import Names
from binder_node.spec.quantity import Quantity
from binder_node.spec.source import Source, read
from binder_node.spec.types import HostName

FOLDER = Path("inventories")
SUFFIXES = (".yaml", ".yml")
# A provider's key with the size of the filesystem that `machine.state` lies on, where that is not the machine's disk.
OWN_DISK = {"local": "disk_image", "hetzner": "volume", "openstack": "volume"}
# Keys of files on the operator's machine: relative to the inventory's folder, absolute in the Spec.
PATHS: tuple[tuple[str, str], ...] = (
    ("provider", "identity"),
    ("tls", "certificate"),
    ("tls", "key"),
    ("tls", "authority"),
    ("binderhub", "values"),
    ("abuse", "banned_file"),
)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A Spec with the text it came from.

    ``given`` are the keys that stand in the file, ``computed`` those that the sizing rules added.
    """

    path: Path
    spec: Spec
    source: Source
    given: frozenset[Key]
    computed: frozenset[Key]


def find(name_or_path: str | Path) -> Path:
    """The inventory's path: a path as it is, a bare name as ``inventories/NAME.yaml`` below the current folder.

    Raises InputError, with the nearest name there is, when a bare name has no file.
    """
    path = Path(name_or_path)
    if path.suffix in SUFFIXES or len(path.parts) > 1 or path.is_file():
        return path
    named = FOLDER / f"{path.name}.yaml"
    if named.is_file():
        return named
    there = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    near = nearest(path.name, there)
    right = f"did you mean {near}?" if near else f"there are: {', '.join(there)}" if there else ""
    make = f"`binder-node init {path.name}` makes it"
    raise InputError(Problem(str(named), 0, "", "there is no such inventory", f"{right} {make}".strip()))


def load(path: Path) -> Spec:
    """The Spec of the inventory at ``path``. Raises InputError with every problem there is."""
    return load_inventory(path).spec


def load_inventory(path: Path) -> Inventory:
    """As :func:`load`, with lines and what was given and computed."""
    return checked(read(path), path)


def checked(source: Source, path: Path) -> Inventory:
    """The inventory that ``source`` says, which stands in ``path`` or would. Raises InputError with every problem."""
    data = _whole(source.data, path)
    machine, problems = _machine(data, source)
    computed = _computed(data, machine)
    if "names" not in data:
        computed = {**computed, "names": {}}
    merged = _under({section: values for section, values in computed.items() if values}, data)
    spec, invalid, found = _validate(merged, source)
    problems += [problem for problem in found if problem not in problems]
    if machine is None:
        invalid.add("machine")
    if "name" not in invalid and path.stem != spec.name:
        right = f"write {path.stem}, or rename the file to {spec.name}{path.suffix}"
        problems.append(source.problem(("name",), f"'{spec.name}' is not the file's name", right))
    problems += [source.problem(one.key, one.wrong, one.right, *one.against) for one in rules.broken(spec, invalid)]
    if problems:
        raise InputError(*sorted(problems))
    given = frozenset(source.lines)
    added = frozenset((part, name) for part, values in computed.items() for name in values) - given
    return Inventory(path, spec, source, given, added)


def _whole(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The file's data with empty sections as such (``ssh:`` with nothing but comments), and with absolute paths."""
    data = {str(key): value for key, value in given.items()}
    for name, field in Spec.model_fields.items():
        is_section = submodel(field) is not None or (bool(choices(field)) and not field.is_required())
        if name in data and data[name] is None and is_section:
            data[name] = field.get_default(call_default_factory=True).model_dump(mode="json") if choices(field) else {}
    binderhub = data.get("binderhub")
    if isinstance(binderhub, dict) and "session" in binderhub and binderhub["session"] is None:
        data["binderhub"] = {**binderhub, "session": {}}
    folder = path.absolute().parent
    for section, name in PATHS:
        inner = data.get(section)
        if isinstance(inner, dict) and name in inner:
            data[section] = {**inner, name: _absolute(inner[name], folder)}
    return _with_banned(_with_known_host(data, folder / hostkeys.FILE))


def _with_banned(data: dict[str, Any]) -> dict[str, Any]:
    """``abuse.banned`` and ``banned_repositories`` with the lines of ``abuse.banned_file``; each wrong one is told."""
    abuse = data.get("abuse")
    if not isinstance(abuse, dict) or not isinstance(abuse.get("banned_file"), str):
        return data
    provider = data.get("provider")
    address = _valid(IPv4Address, provider.get("address")) if isinstance(provider, dict) else None
    found = banned.read(Path(abuse["banned_file"]), str(address or ""))
    lines = {"banned": [str(one) for one in found.networks], "banned_repositories": list(found.repositories)}
    for key, more in lines.items():
        said = abuse.get(key) or []
        if isinstance(said, list):  # what is none is told of by the validation
            abuse = {**abuse, key: [*said, *more]}
    return {**data, "abuse": abuse}


def _with_known_host(data: dict[str, Any], file: Path) -> dict[str, Any]:
    """``provider.host_key`` as an operator has confirmed it, where the inventory says none of its own.

    A ``provider.fingerprint`` of another key is the later word: the machine was made anew.
    """
    provider = data.get("provider")
    if not isinstance(provider, dict) or provider.get("kind") != "ssh" or provider.get("host_key") is not None:
        return data
    try:
        key = hostkeys.find(file.read_text(encoding="utf-8"), str(data.get("name")))
        known = hostkeys.fingerprint(key) if key is not None else None
    except (FileNotFoundError, NotADirectoryError):
        return data
    except (OSError, ValueError) as error:  # also: no UTF-8, no key
        raise InputError(Problem(str(file), 0, "", f"cannot be read: {error}", "make it a readable text")) from None
    if key is None or provider.get("fingerprint") not in (None, known):
        return data
    return {**data, "provider": {**provider, "host_key": key}}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if not isinstance(value, str) or not value or value == str(AGENT):  # ssh-agent is no file
        return value
    return str(folder / Path(value).expanduser())


def _json(data: Any) -> str:
    # Pydantic's strict mode takes addresses and paths as texts from JSON only; what JSON lacks (dates) is a text.
    return json.dumps(data, default=str)


def _machine(data: Mapping[str, Any], source: Source) -> tuple[Machine | None, list[Problem]]:
    """The machine's size comes first: everything else is computed from it."""
    try:
        return Machine.model_validate_json(_json(data.get("machine")), strict=True), []
    except ValidationError as error:
        if "machine" not in data:
            return None, []  # said by the validation of the whole
        errors = error.errors(include_url=False)
        for one in errors:
            one["loc"] = ("machine", *one["loc"])
        return None, list(sentences(errors, source))


def computed_for(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the sizing rules give for an inventory's data, whatever it says itself. Wrong values count as not said."""
    return _computed(given, _valid(Machine, given.get("machine")))


def _computed(data: Mapping[str, Any], machine: Machine | None) -> dict[str, Any]:
    names, provider, kubernetes, binderhub = (
        part if isinstance(part, dict) else {}
        for part in (data.get(name) for name in ("names", "provider", "kubernetes", "binderhub"))
    )
    session = binderhub.get("session")
    binder = _valid(HostName, names.get("binder")) or required(Names)["binder"]
    guarantee = _valid(Quantity, session.get("memory_guarantee")) if isinstance(session, dict) else None
    return sizing.defaults(
        machine or Machine.model_validate(required(Machine)),
        {"binder": binder},
        disk=_valid(Quantity, provider.get(OWN_DISK.get(str(provider.get("kind")), ""))),
        pods=_valid(int, kubernetes.get("max_pods")),
        guarantee=guarantee or sizing.GUARANTEE,
    )


def _valid(kind: Any, value: Any) -> Any:
    """``value`` as ``kind``, or ``None``: a wrong one is reported where it stands, and must not break what follows."""
    try:
        return TypeAdapter(kind).validate_json(_json(value), strict=True)
    except ValidationError:
        return None


def _under(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(given)
    for key, value in defaults.items():
        if key not in given:
            merged[key] = value
        elif isinstance(value, Mapping) and isinstance(given[key], Mapping):
            merged[key] = _under(value, given[key])
    return merged


def _validate(data: dict[str, Any], source: Source) -> tuple[Spec, set[str], list[Problem]]:
    """The Spec, the sections that are not the operator's because theirs were wrong, and what was wrong with them."""
    try:
        return Spec.model_validate_json(_json(data), strict=True), set(), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    problems = list(sentences(errors, source))
    invalid = {str(place(one["loc"]).key[0]) for one in errors}
    machine = Machine.model_validate(required(Machine))
    stand_in = _under(sizing.defaults(machine, required(Names)), _example())
    patched = {name: data[name] for name in Spec.model_fields if name in data and name not in invalid}
    patched |= {name: stand_in[name] for name in invalid if name in stand_in}
    return Spec.model_validate_json(_json(patched), strict=True), invalid, problems


def _example() -> dict[str, Any]:
    """A smallest valid inventory: sections that replace wrong ones while the rules look at the others."""
    found: dict[str, Any] = {}
    for name, field in Spec.model_fields.items():
        options, inner = choices(field), submodel(field)
        if options:
            tag, model = next(iter(options.items()))
            found[name] = {**required(model), str(field.discriminator): tag}
        elif inner is not None:
            found[name] = required(inner)
        else:
            found[name] = field.examples[0] if field.examples else None
    return found


def render(inventory: Inventory) -> dict[str, Any]:
    """The complete Spec, ready for JSON: ``spec``, and as dotted keys what is ``given``, ``computed``, ``default``."""
    spec = inventory.spec.model_dump(mode="json")
    leaves = list(_leaves(spec, ()))
    given = [key for key in leaves if key in inventory.given]
    computed = [key for key in leaves if key in inventory.computed]
    default = [key for key in leaves if key not in inventory.given and key not in inventory.computed]
    return {
        "file": inventory.source.file,
        "spec": spec,
        "given": [dotted(key) for key in given],
        "computed": [dotted(key) for key in computed],
        "default": [dotted(key) for key in default],
    }


def _leaves(value: Any, key: Key) -> list[Key]:
    if isinstance(value, dict) and value and key[-1:] not in (("mirrors",), ("prices",)):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, (*key, name))]
    return [key]
