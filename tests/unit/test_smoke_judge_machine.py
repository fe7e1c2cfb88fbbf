"""What the checks of a machine say of what they see."""

from __future__ import annotations

import pytest

from binder_node.host.firewall import table
from binder_node.host.kernel import SYSCTLS
from binder_node.smoke import judge_machine as judge
from binder_node.smoke.checks import Trouble
from tests.unit.host_samples import other_spec, sample_spec

GOOD = dict(SYSCTLS)


def reason(trouble: Trouble | None) -> str:
    """Empty where there is no trouble; a trouble always has a remedy."""
    assert trouble is None or trouble.remedy
    return trouble.reason if trouble else ""


# --- the kernel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"fs.inotify.max_user_instances": "65536"}, ""),  # more is as good
        ({"fs.inotify.max_user_instances": "128"}, "fs.inotify.max_user_instances is 128, not 8192"),
        ({"net.ipv4.ip_forward": "0"}, "net.ipv4.ip_forward is 0, not 1"),
    ],
)
def test_sysctls_in_force(change: dict[str, str], said: str) -> None:
    assert reason(judge.sysctls(SYSCTLS, {**GOOD, **change})) == said


def test_a_key_that_the_kernel_has_not_is_left_alone() -> None:
    seen = {key: value for key, value in GOOD.items() if "bridge" not in key}
    assert judge.sysctls(SYSCTLS, seen) is None


OURS = "# /etc/sysctl.d/90-binder-node.conf\n" + "".join(f"{key} = {value}\n" for key, value in SYSCTLS.items())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (OURS, ""),
        (f"# /usr/lib/sysctl.d/50-default.conf\nfs.inotify.max_user_instances=128\n\n{OURS}", ""),
        (f"{OURS}# /etc/sysctl.d/99-own.conf\n#fs.inotify.max_user_watches=1\n", ""),
        (
            f"{OURS}# /etc/sysctl.d/99-own.conf\n-fs/inotify/max_user_watches = 8192\n",
            "at the next boot fs.inotify.max_user_watches will be 8192 (/etc/sysctl.d/99-own.conf)",
        ),
        (OURS.replace("net.ipv4.ip_forward = 1\n", ""), "at the next boot nothing sets net.ipv4.ip_forward"),
    ],
)
def test_sysctls_at_the_next_boot(files: str, said: str) -> None:
    assert reason(judge.sysctls_kept(SYSCTLS, files)) == said


def test_open_files() -> None:
    good = [("k3s.service", "1048576"), ("minio.service", "unlimited")]
    assert judge.open_files(good) is None
    trouble = judge.open_files([("k3s.service", "1024"), *good[1:]])
    assert reason(trouble) == "open files are limited too low: k3s.service: 1024"
    assert trouble is not None
    assert trouble.remedy == "systemctl restart k3s.service"
    assert judge.open_files([("k3s.service", "")]) is None  # it ended between the two questions


SWAPS = "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n"


@pytest.mark.parametrize(
    ("swaps", "target", "container", "said"),
    [
        (SWAPS.splitlines()[0], "masked", False, ""),
        (SWAPS, "masked", False, "swap is on: /dev/sda2"),
        (SWAPS, "masked", True, ""),
        (SWAPS.splitlines()[0], "static", False, "swap would be on again after a reboot: swap.target is static"),
    ],
)
def test_swap(swaps: str, target: str, container: bool, said: str) -> None:
    assert reason(judge.swap(swaps, target, container)) == said


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (100.5, ""),
        (96.0, ""),
        (105.9, ""),
        (94.0, "its clock is 6 s behind this computer's"),
        (161.0, "its clock is 60 s ahead of this computer's"),
    ],
)
def test_clock(there: float, said: str) -> None:
    assert reason(judge.clock((100.0, 101.0), there)) == said


@pytest.mark.parametrize(
    ("states", "synchronised", "container", "said"),
    [
        ({"systemd-timesyncd.service": "enabled"}, "yes", False, ""),
        ({"systemd-timesyncd.service": "disabled", "chrony.service": "enabled"}, "yes", False, ""),
        ({"systemd-timesyncd.service": "enabled"}, "no", False, "the clock is not synchronised"),
        ({"systemd-timesyncd.service": "enabled"}, "no", True, ""),
        ({"systemd-timesyncd.service": "disabled"}, "yes", True, "nothing keeps the clock: no time service is enabled"),
    ],
)
def test_clock_kept(states: dict[str, str], synchronised: str, container: bool, said: str) -> None:
    assert reason(judge.clock_kept(states, synchronised, container)) == said


def test_boot() -> None:
    states = judge.unit_files("k3s.service enabled enabled\nfind.service static -\nminio.service disabled enabled\n")
    assert judge.boot(["k3s.service", "find.service"], states) is None
    said = reason(judge.boot(["k3s.service", "minio.service", "gone.service"], states))
    assert said == "a reboot would not bring everything back: gone.service is not there, minio.service is disabled"


def test_failed_units() -> None:
    text = "prune.service loaded failed failed Prune\nk3s.service loaded failed failed K3s\n"
    assert reason(judge.failed_units(text, ["k3s.service"])) == "failed: prune.service"
    assert judge.failed_units(text, ["k3s.service", "prune.service"]) is None


def test_a_module_that_cannot_be_loaded_shows_in_its_unit() -> None:
    """Its sysctls are not there then, and are left alone."""
    units = ["k3s.service", judge.MODULES_UNIT, "systemd-sysctl.service"]
    text = f"{judge.MODULES_UNIT} loaded failed failed Load Kernel Modules\n"
    assert reason(judge.failed_units(text, judge.with_checks(units, False))) == f"failed: {judge.MODULES_UNIT}"
    assert judge.failed_units(text, judge.with_checks(units, True)) is None


# --- sizes and filesystems -----------------------------------------------------------------------------------------


def test_size() -> None:
    assert judge.memory_of("MemTotal:       16000000 kB\nMemFree: 1 kB\n") == 16_384_000_000
    assert judge.size("memory", 16 * 10**9, 14 * 10**9) is None
    assert reason(judge.size("disk", 960 * 10**9, 240 * 10**9)) == "machine.disk says 960 GB, the machine has 240.0 GB"
    assert judge.cores(8, 8) is None
    assert reason(judge.cores(8, 4)) == "machine.cpus says 8, the machine has 4"


DF = """\
Mounted on           Filesystem Type    1B-blocks        Avail  Inodes IFree
/                    /dev/sda1  ext4 100000000000 {root} 1000000 {inodes}
/var/lib/binder-node /dev/sdb   xfs  900000000000 {state} 0 0
/boot                /dev/sda2  ext4    500000000 {boot} 0 0
"""
ROOMY = {"root": 10**10, "inodes": 900000, "state": 3 * 10**11, "boot": 10**8}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"root": 2 * 10**9}, ""),  # a gigabyte is enough for a large one
        ({"root": 5 * 10**8}, "/: 500.0 MB free of 100.0 GB (nearly full)"),
        ({"boot": 2 * 10**7}, "/boot: 20.0 MB free of 500.0 MB (nearly full)"),
        ({"inodes": 50000}, "/: 50000 inodes free of 1000000"),
        ({"state": 10**11}, "/var/lib/binder-node: 100.0 GB free of 900.0 GB (builds wait)"),
    ],
)
def test_room(change: dict[str, int], said: str) -> None:
    seen = judge.mounts(DF.format(**{**ROOMY, **change}))
    assert len(seen) == 3
    assert reason(judge.room(seen, "/var/lib/binder-node", 15)) == said


def test_one_disk() -> None:
    state = {"/state": "2049", "/var/lib/rancher": "2049"}
    assert judge.one_disk(state) is None
    assert "/var/lib/rancher is on 26" in reason(judge.one_disk({**state, "/var/lib/rancher": "26"}))
    assert "/var/lib/rancher is on nothing" in reason(judge.one_disk({**state, "/var/lib/rancher": ""}))


def test_data_disk() -> None:
    assert judge.data_disk("a-b", "/dev/sdb", "a-b") is None
    assert "not on the data disk a-b" in reason(judge.data_disk("a-b", "/dev/sda1", "c-d"))


# --- network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [sample_spec(), other_spec()])
def test_rules_that_were_taken_away_are_missed_and_added_ones_are_not(spec: object) -> None:
    wanted = judge.rules_wanted(table(spec))  # type: ignore[arg-type]
    hooks = {"arrive", "input", "forward", "leave"}
    assert set(wanted) == hooks | {"from_outside", "from_builds", "from_pods", "asks", "meets", "refuse"}
    assert wanted["refuse"] == 2
    assert wanted["arrive"] == 4
    assert judge.firewall(wanted, {chain: count + 1 for chain, count in wanted.items()}) is None
    assert (
        reason(judge.firewall(wanted, {**wanted, "arrive": 3})) == "the firewall is not whole: arrive has 3 of 4 rules"
    )
    assert "input has 0 of" in reason(judge.firewall(wanted, {}))


def test_rules_as_nft_lists_them() -> None:
    chains = '{"chain": {"name": "input"}}, {"chain": {"name": "leave"}}'
    rules = '{"rule": {"chain": "input", "expr": []}}, {"rule": {"chain": "input"}}'
    answer = f'{{"nftables": [{{"metainfo": {{}}}}, {{"table": {{}}}}, {chains}, {rules}]}}'
    assert judge.rules_loaded(answer) == {"input": 2, "leave": 0}


def test_listening_ports_but_for_loopback() -> None:
    text = (
        "LISTEN 0 4096 127.0.0.1:9000 0.0.0.0:*\nLISTEN 0 4096 *:10250 *:*\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n"
        "LISTEN 0 128 [::]:22 [::]:*\nLISTEN 0 9 [::1]:631 [::]:*\nLISTEN 0 9 127.0.0.53%lo:53 0.0.0.0:*\n"
    )
    assert judge.listening(text) == {22, 10250}


def test_ports_from_outside() -> None:
    assert judge.from_outside([22, 80], {22, 80, 443}) is None
    assert reason(judge.from_outside([22, 10250, 9000], {22})) == "open to the world: port 9000, port 10250"


def test_names() -> None:
    assert judge.name("bids-1", "127.0.1.1  STREAM bids-1\n203.0.113.9     STREAM\n", "203.0.113.9") is None
    assert reason(judge.name("bids-1", "", "203.0.113.9")) == "bids-1 is unknown there, the machine is 203.0.113.9"
    assert judge.public_names({"a.org": {"203.0.113.9"}}, "203.0.113.9") is None
    said = reason(judge.public_names({"a.org": {"203.0.113.8"}, "b.org": set()}, "203.0.113.9"))
    assert said == "DNS: a.org is 203.0.113.8; b.org is unknown; the machine is 203.0.113.9"
