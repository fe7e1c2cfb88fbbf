"""What an operator reads when an inventory is wrong: every mistake, each with its line."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from binder_node.errors import InputError
from binder_node.spec.load import find, load, load_inventory, render
from binder_node.spec.quantity import Quantity

GOOD = """\
name: node
provider:
  kind: local
machine:
  cpus: 8
  memory: 64G
  disk: 400G
names:
  binder: node.example.org
tls:
  mode: none
storage:
  kind: node
"""
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an ``inventories`` folder in it, so that messages name short paths."""
    (tmp_path / "inventories").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(text: str | bytes, file: str = "inventories/node.yaml") -> list[str]:
    """What ``load`` says of ``text``, one sentence each, without the file's name."""
    path = Path(file)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    assert all(problem.file == file for problem in caught.value.problems)
    return [str(problem).removeprefix(f"{file}:").removeprefix(" ") for problem in caught.value.problems]


def with_section(section: str) -> str:
    return GOOD + dedent(section)


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_small_inventory_gives_a_whole_spec(folder: Path) -> None:
    (folder / "inventories/node.yaml").write_text(GOOD)
    spec = load(Path("inventories/node.yaml"))
    assert spec.name == "node"
    assert (spec.names.hub, spec.names.registry) == ("hub.node.example.org", "registry.node.example.org")
    assert (spec.kubernetes.max_pods, spec.binderhub.quota, spec.binderhub.build_limit) == (112, 87, 2)
    assert (spec.buildkit.cache, str(spec.buildkit.cache)) == (Quantity("120G"), "120G")
    assert spec.binderhub.session.memory_guarantee == 450_000_000


def test_what_is_said_wins_over_what_is_computed_and_what_follows_from_it_follows(folder: Path) -> None:
    text = with_section("""\
        kubernetes:
          max_pods: 50
        binderhub:
          session:
            memory_guarantee: 1G
    """)
    (folder / "inventories/node.yaml").write_text(text)
    inventory = load_inventory(Path("inventories/node.yaml"))
    assert inventory.spec.kubernetes.max_pods == 50
    assert inventory.spec.binderhub.quota == 28  # 95 % of 50 - 20 pods, less than what fits in 64G
    shown = render(inventory)
    assert "kubernetes.max_pods" in shown["given"]
    assert "kubernetes.image_gc_high" in shown["computed"]
    assert "binderhub.quota" in shown["computed"]
    assert "ssh.port" in shown["default"]
    assert shown["spec"]["binderhub"]["session"]["memory_guarantee"] == "1G"
    everything = shown["given"] + shown["computed"] + shown["default"]
    assert len(everything) == len(set(everything))


def test_an_empty_section_is_one_at_its_defaults(folder: Path) -> None:
    (folder / "inventories/node.yaml").write_text(GOOD + "ssh:\n  #port: 22\nbinderhub:\n  session:\n")
    assert load(Path("inventories/node.yaml")).ssh.port == 22


def test_the_disk_image_of_a_local_machine_is_what_is_sized_for(folder: Path) -> None:
    text = GOOD.replace("kind: local", "kind: local\n  disk_image: 10G")
    (folder / "inventories/node.yaml").write_text(text)
    spec = load(Path("inventories/node.yaml"))
    assert spec.state_disk == 10 * 10**9
    assert str(spec.buildkit.cache) == "3G"


def test_paths_are_relative_to_the_inventory(folder: Path) -> None:
    (folder / "inventories/more.yaml").write_text("a: 1\n")
    (folder / "inventories/node.yaml").write_text(GOOD + "binderhub:\n  values: [more.yaml]\n")
    assert load(Path("inventories/node.yaml")).binderhub.values == (folder / "inventories/more.yaml",)


@pytest.mark.usefixtures("folder")
class TestTheTextItself:
    def test_no_file(self) -> None:
        with pytest.raises(InputError) as caught:
            load(Path("inventories/nope.yaml"))
        assert str(caught.value) == (
            "inventories/nope.yaml: there is no such file; make it with `binder-node init nope`, or name another file"
        )

    def test_a_folder(self) -> None:
        with pytest.raises(InputError, match="inventories: cannot be read: Is a directory"):
            load(Path("inventories"))

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
    def test_empty(self, text: str) -> None:
        assert problems(text) == ["1: is empty; write one with `binder-node init node`"]

    @pytest.mark.parametrize("text", ["- a\n", "text\n", "5\n"])
    def test_no_mapping(self, text: str) -> None:
        assert problems(text) == ["1: is not a mapping; write `key: value` lines; `name:` comes first"]

    def test_not_utf8(self) -> None:
        assert problems(b"name: caf\xe9\n") == ["byte 9 is not UTF-8; save the file as UTF-8 text"]

    def test_syntax(self) -> None:
        (said,) = problems("name: node\nprovider: [local\nmachine: 5\n")
        assert said.startswith("3: is not YAML: ")

    def test_tab(self) -> None:
        assert problems("name: node\nprovider:\n\tkind: local\n") == [
            "3: the line is indented with a tab; indent with spaces"
        ]

    def test_two_documents(self) -> None:
        (said,) = problems(GOOD + "---\nname: other\n")
        assert "is not YAML: but found another document" in said

    def test_control_character(self) -> None:
        (said,) = problems("name: a\x07b\n")
        assert said.startswith("is not YAML: ")

    def test_every_key_that_stands_twice(self) -> None:
        assert problems(GOOD + "name: again\nssh:\n  port: 1\n  port: 2\n") == [
            "14: name: stands twice, first on line 1; keep one of the two",
            "17: ssh.port: stands twice, first on line 16; keep one of the two",
        ]

    def test_alias_inside_of_itself(self) -> None:
        assert problems(GOOD + "ssh: &loop\n  admins: [*loop]\n") == [
            "14: ssh.admins[0]: is an alias inside of itself; write the value out"
        ]

    def test_key_that_is_no_text(self) -> None:
        assert problems(GOOD + "? [a, b]\n: 1\n") == ["14: has a key that is not a text; write `key: value`"]

    @pytest.mark.parametrize("value", ["2024-13-45", "!!int x", "!!bool x"])
    def test_value_that_cannot_be(self, value: str) -> None:
        (said,) = problems(GOOD + f"federation:\n  member: {value}\n")
        assert said == f"15: federation.member: {value.split()[-1]!r} is no valid value; put a text in quotes"

    def test_nested_without_end(self) -> None:
        assert problems("[" * 5000) == ["is nested too deeply; an inventory has four levels"]

    def test_unknown_tag(self) -> None:
        (said,) = problems(replaced("cpus: 8", "cpus: !cores 8"))
        assert said.startswith("5: is not YAML: could not determine a constructor for the tag")


@pytest.mark.usefixtures("folder")
class TestKeys:
    def test_nearest_key_of_the_section(self) -> None:
        assert problems(with_section("kubernetes:\n  image_gc_hihg: 70\n")) == [
            "15: kubernetes.image_gc_hihg: unknown key; did you mean image_gc_high?"
        ]

    @pytest.mark.parametrize("key", ["Max_Pods", "maxPods", "max-pods", "MAX_PODS"])
    def test_another_case(self, key: str) -> None:
        assert problems(with_section(f"kubernetes:\n  {key}: 70\n")) == [
            f"15: kubernetes.{key}: unknown key; keys are case-sensitive: this one is written max_pods"
        ]

    def test_a_key_of_another_section(self) -> None:
        assert problems(with_section("max_pods: 70\n")) == [
            "14: max_pods: unknown key here; it belongs at kubernetes.max_pods"
        ]

    def test_nothing_near(self) -> None:
        assert problems(with_section("federation:\n  zzz: 1\n")) == [
            "15: federation.zzz: unknown key; this section has: member, weight, sponsor, sponsor_url, logo"
        ]

    def test_a_key_that_is_a_number(self) -> None:
        assert problems(with_section("federation:\n  8080: 1\n")) == [
            "15: federation.8080: unknown key; this section has: member, weight, sponsor, sponsor_url, logo"
        ]

    def test_missing_key(self) -> None:
        assert problems(replaced("  disk: 400G\n", "")) == ["4: machine.disk: is missing; write `disk: 240G`"]

    def test_missing_sections(self) -> None:
        assert problems("name: node\n") == [
            "1: machine: is missing; write `machine: {cpus: 8, memory: 32G, disk: 240G}`",
            "1: names: is missing; write `names: {binder: bids.mybinder.org}`",
            "1: provider: is missing; write `provider: {kind: local}`",
            "1: storage: is missing; write `storage: {kind: node}`",
            "1: tls: is missing; write `tls: {mode: none}`",
        ]

    def test_a_missing_key_under_a_wrong_name_is_said_once(self) -> None:
        assert problems(replaced("cpus:", "cpu:")) == ["5: machine.cpu: unknown key; did you mean cpus?"]

    def test_key_of_another_kind(self) -> None:
        assert problems(replaced("kind: local", f"kind: local\n  host_key: {HOST_KEY}")) == [
            "4: provider.host_key: unknown key here; it goes with kind: ssh"
        ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: node", "name: Node", "1: name: 'Node' is not allowed; write a name of at most 40 lower-case letters"),
        ("cpus: 8", "cpus: 0", "5: machine.cpus: 0 is too small; write a whole number from 1 to 1024"),
        ("cpus: 8", "cpus: '8'", "5: machine.cpus: '8' is a text; write a whole number from 1 to 1024"),
        ("cpus: 8", "cpus: true", "5: machine.cpus: true is not allowed here; write a whole number"),
        ("cpus: 8", "cpus: 2.5", "5: machine.cpus: 2.5 is not allowed here; write a whole number"),
        ("cpus: 8", "cpus: [8]", "5: machine.cpus: a list is not allowed here; write a whole number"),
        ("cpus: 8", "cpus:", "5: machine.cpus: has no value; write a whole number from 1 to 1024, or remove the line"),
        ("memory: 64G", "memory: lots", "6: machine.memory: 'lots' is not a size; write a number with a unit"),
        ("memory: 64G", "memory: 64 G", "6: machine.memory: '64 G' is not a size; write a number with a unit"),
        ("memory: 64G", "memory: 64GB", "6: machine.memory: '64GB' is not a size; write a number with a unit"),
        ("memory: 64G", "memory: -1", "6: machine.memory: -1: must be more than nothing; write a number with a unit"),
        ("memory: 64G", "memory: 64", "6: machine.memory: 64 is less than an idle node uses (1450M); write the m"),
        ("disk: 400G", "disk: 400", "7: machine.disk: 400 does not hold a node's own images; write the size with"),
        ("disk: 400G", "disk: 400G\n  arch: arm", "8: machine.arch: 'arm' is not allowed here; write amd64 or arm64"),
        ("disk: 400G", "disk: 400G\n  state: data", "8: machine.state: 'data' cannot be the state folder; write the"),
        ("node.example.org", "node", "9: names.binder: 'node' is not allowed; write a full host name in lower case"),
        ("node.example.org", "2024-01-01", "9: names.binder: '2024-01-01' is not allowed; write a full host name"),
        ("kind: local", "kind: locl", "2: provider: kind 'locl' is unknown; did you mean local? It can be: local, ssh"),
        ("kind: local", "type: local", "2: provider: has no kind; write `kind:` with one of: local, ssh"),
        ("provider:\n  kind: local", "provider: local", "2: provider: 'local' is not a section; write {kind: local}"),
        ("mode: none", "mode: lego", "10: tls: mode 'lego' is unknown; write one of: none, files, acme"),
        ("kind: node", "kind: minio", "12: storage: kind 'minio' is unknown; write one of: node, s3"),
        ("kind: local", "kind: local\n  address: 1.2.3", "4: provider.address: '1.2.3': Expected 4 octets"),
        ("kind: local", "kind: local\n  network: 198.18.0.1/24", "4: provider.network: '198.18.0.1/24'"),
        ("kind: local", "kind: ssh\n  address: 1.1.1.1\n  host_key: x", "5: provider.host_key: 'x' is not allowed; w"),
    ],
)
def test_values(old: str, new: str, said: str) -> None:
    (found,) = problems(replaced(old, new))
    assert found.startswith(said)
    assert "; write " in found or "; did you mean" in found


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("ssh: 5", "14: ssh: 5 is not a section; write a mapping with some of: user, port, admins, admin_networks"),
        ("ssh:\n  port: 70000", "15: ssh.port: 70000 is too large; write a whole number from 1 to 65535"),
        ("ssh:\n  admins: key", "15: ssh.admins: 'key' is not allowed here; write a list, each a public key"),
        ("ssh:\n  admins:\n    - key", "16: ssh.admins[0]: 'key' is not allowed; write a public key in OpenSSH's"),
        ("ssh:\n  admin_networks:\n  - 1.1.1.1/32\n  - x", "17: ssh.admin_networks[1]: 'x': Expected 4 octets"),
        ("registry:\n  mirrors: {a_b: [http://c]}", "15: registry.mirrors.a_b: 'a_b' is not allowed; write a full"),
        ("registry:\n  mirrors:\n    d.io:\n    - x", "17: registry.mirrors.d.io[0]: 'x' is not allowed; write a URL"),
        ("registry:\n  cache_from: https://h.org/a", "15: registry.cache_from: 'https://h.org/a' has more than a host"),
        ("registry:\n  cache_from: https://h.org?a", "15: registry.cache_from: 'https://h.org?a' has more than a host"),
        ("registry:\n  cache_days: -1", "15: registry.cache_days: -1 is too small"),
        ("registry:\n  cache_user: B!", "15: registry.cache_user: 'B!' is not allowed; write a Docker ID"),
        ("binderhub:\n  session:\n    cpu_limit: .inf", "16: binderhub.session.cpu_limit: "),
        ("binderhub:\n  session:\n    cpu_guarantee: 0", "16: binderhub.session.cpu_guarantee: 0 is too small; wri"),
        ("buildkit:\n  worker: docker", "15: buildkit.worker: 'docker' is not allowed here; write containerd or oci"),
    ],
)
def test_values_of_optional_sections(section: str, said: str) -> None:
    (found,) = problems(GOOD + section + "\n")
    assert found.startswith(said)


@pytest.mark.usefixtures("folder")
def test_all_mistakes_at_once_and_in_order() -> None:
    text = GOOD.replace("memory: 64G", "memory: x").replace("kind: node", "kind: z") + dedent("""\
        clusterEntryPoint: x
        kubernetes:
          image_gc_low: 80
          pod_network: 10.43.0.0/16
        federation:
          weight: 5
        """)
    assert [said.split(";")[0] for said in problems(text)] == [
        "6: machine.memory: 'x' is not a size",
        "12: storage: kind 'z' is unknown",
        "14: clusterEntryPoint: unknown key",
        "16: kubernetes.image_gc_low: the kubelet would stop at 80 % what it begins at 75 %",
        "17: kubernetes.service_network: 10.43.0.0/16 overlaps 10.43.0.0/16 (kubernetes.pod_network)",
        "19: federation.member: a weight of 5 needs the member's name",
    ]


@pytest.mark.usefixtures("folder")
def test_the_file_is_called_as_the_node() -> None:
    assert problems(GOOD, "inventories/other.yaml") == [
        "1: name: 'node' is not the file's name; write other, or rename the file to node.yaml"
    ]


class TestFind:
    def test_a_name_is_an_inventory_of_the_usual_folder(self, folder: Path) -> None:
        (folder / "inventories/node.yaml").write_text(GOOD)
        assert find("node") == Path("inventories/node.yaml")

    @pytest.mark.parametrize("path", ["some/where.yaml", "node.yml", "some/node", "/x/y.yaml"])
    def test_a_path_is_itself(self, path: str) -> None:
        assert find(path) == Path(path)

    def test_the_nearest_name(self, folder: Path) -> None:
        (folder / "inventories/node-1.yaml").write_text(GOOD)
        with pytest.raises(InputError, match=r"there is no such inventory; did you mean node-1\?"):
            find("node-l")
        with pytest.raises(InputError, match=r"there are: node-1 `binder-node init zzz` makes it"):
            find("zzz")
