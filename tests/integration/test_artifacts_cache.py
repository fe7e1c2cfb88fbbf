"""The cache under several processes, sudden deaths, a full disk and damage."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node.artifacts.cache import Cache
from binder_node.errors import DeadlineError, StepError
from tests.integration import artifacts_fixtures as af
from tests.integration.artifacts_fixtures import Told, Vendor, leftovers, noise, pins, release, sha256, store, until

DATA = noise(6_000_000)
MB = 1_000_000


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with af.vendor() as made:
        yield made


def overlay(folder: Path, url: str, sha: str) -> Path:
    path = folder / "overlay.toml"
    table = f'[k3s.release.amd64]\nurl = "{url}"\nsha256 = "{sha}"\n'
    path.write_text(f'[k3s]\nversion = "1"\n{table}', encoding="utf-8")
    return path


def test_two_processes_that_want_the_same_fetch_it_once(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, delay=0.01)
    mine = overlay(tmp_path, url, sha256(DATA))
    racing = [af.command(tmp_path / "cache", mine, "fetch", "k3s", "-o", "json") for _ in range(2)]
    results = [af.ended(process) for process in racing]
    assert [code for code, _, _ in results] == [0, 0], results
    assert vendor.seen == [("/k3s", "", len(DATA))]
    assert any("waiting for another process's download of k3s (process " in out for _, out, _ in results)


def test_threads_of_one_process_do_too(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, delay=0.005)
    made = pins(tmp_path, k3s=release(url, sha256(DATA)))
    threads = [
        threading.Thread(target=lambda: store(tmp_path / "cache", made).ensure(["k3s"]), daemon=True) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert vendor.count("/k3s") == 1


def test_killed_in_the_middle_the_next_run_fetches_only_the_rest(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, stalls=[4 * MB])
    mine = overlay(tmp_path, url, sha256(DATA))
    victim = af.command(tmp_path / "cache", mine, "fetch", "k3s")
    parts = tmp_path / "cache/parts"
    until(lambda: any(part.stat().st_size == 4 * MB for part in parts.glob("*")), "4 MB")
    os.kill(victim.pid, signal.SIGKILL)
    af.ended(victim)
    assert not list((tmp_path / "cache").glob("sha256/*/*/*"))
    code, _, err = af.ended(af.command(tmp_path / "cache", mine, "fetch", "k3s"))
    assert code == 0, err
    assert vendor.seen == [("/k3s", "", 4 * MB), ("/k3s", f"bytes={4 * MB}-", 2 * MB)]
    assert leftovers(tmp_path / "cache") == [f"sha256/{sha256(DATA)[:2]}/{sha256(DATA)}/k3s"]


def test_ctrl_c_ends_a_download_at_once_and_the_next_run_goes_on(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, delay=0.05)
    mine = overlay(tmp_path, url, sha256(DATA))
    process = af.command(tmp_path / "cache", mine, "fetch", "k3s")
    until(lambda: any(part.stat().st_size > MB for part in (tmp_path / "cache/parts").glob("*")), "a megabyte")
    process.send_signal(signal.SIGINT)
    code, _, err = af.ended(process, 5)
    assert (code, "interrupted" in err) == (130, True), err
    assert af.ended(af.command(tmp_path / "cache", mine, "fetch", "k3s"))[0] == 0
    assert sum(sent for _, _, sent in vendor.seen) < len(DATA) + MB


def test_a_lock_that_is_held_too_long_names_its_holder(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    mine.cache.lock_wait = 0.3
    with (
        Cache(tmp_path / "cache").lock(f"download {url}", "a test"),
        pytest.raises(DeadlineError, match=rf"another process's download of k3s: process {os.getpid()} since .* at it"),
    ):
        mine.ensure(["k3s"])
    assert mine.ensure(["k3s"])["k3s"].size == len(DATA)


# --- a full disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True, timeout=10)
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_a_disk_that_is_too_small_is_said_before_the_download(vendor: Vendor, tmp_path: Path, small: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    with pytest.raises(StepError, match=r"k3s needs 6 MB and 0 MB spare, 4 MB are free -> make room under"):
        store(small, pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert leftovers(small) == []


def test_a_disk_that_fills_up_on_the_way_gives_the_room_back(vendor: Vendor, tmp_path: Path, small: Path) -> None:
    url = vendor.serve("/k3s", DATA, length=False)  # nobody knows beforehand how large it is
    with pytest.raises(StepError, match=r"fetch k3s: the disk is full: .* -> make room under .*BINDER_NODE_CACHE"):
        store(small, pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert leftovers(small) == []
    assert os.statvfs(small).f_bavail * os.statvfs(small).f_frsize > 3 * MB


def test_an_archive_that_does_not_fit_unpacked(vendor: Vendor, tmp_path: Path, small: Path) -> None:
    data = af.tarball(tool=bytes(8 * MB))  # 8 kB packed
    url = vendor.serve("/a.tar.gz", data)
    with pytest.raises(StepError, match=r"unpack a.tar.gz: the disk is full"):
        store(small, pins(tmp_path, tool=release(url, sha256(data), member="tool"))).ensure(["tool"])
    assert leftovers(small) == [f"sha256/{sha256(data)[:2]}/{sha256(data)}/a.tar.gz"]


def test_a_copy_that_does_not_fit(tmp_path: Path, small: Path) -> None:
    (tmp_path / "images.tar").write_bytes(DATA)
    made = pins(tmp_path, images={"file": {"path": str(tmp_path / "images.tar")}})
    with pytest.raises(StepError, match="images needs 6 MB"):
        store(small, made).ensure(["images"])
    assert leftovers(small) == []


def test_a_folder_that_may_not_be_written_to(vendor: Vendor, tmp_path: Path, small: Path) -> None:
    url = vendor.serve("/k3s", noise(10))
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True, timeout=10)
    with pytest.raises(StepError, match=r"Read-only file system.*set BINDER_NODE_CACHE"):
        store(small / "cache", pins(tmp_path, k3s=release(url, sha256(noise(10))))).ensure(["k3s"])


# --- damage --------------------------------------------------------------------------------------------------------


def test_a_file_that_was_changed_is_made_anew(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine, told = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))), Told()
    path = mine.ensure(["k3s"])["k3s"].path
    path.chmod(0o755)
    path.write_bytes(DATA[:-1] + b"!")
    assert mine.ensure(["k3s"], told)["k3s"].path.read_bytes() == DATA
    assert told.messages("warn") == ["k3s was damaged in the cache; making it anew"]


def test_a_file_that_was_only_touched_is_kept(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine, told = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))), Told()
    os.utime(mine.ensure(["k3s"])["k3s"].path)
    mine.ensure(["k3s"], told)
    assert (told.messages("warn"), vendor.count("/k3s")) == ([], 1)


def test_whoever_finds_it_damaged_has_it_made_anew(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    artifact = mine.ensure(["k3s"])["k3s"]
    assert not artifact.drop_if_damaged()
    hide_damage(artifact.path)
    assert mine.ensure(["k3s"])["k3s"] == artifact  # as large and as old as it was: nobody looks
    with pytest.raises(StepError, match=r"k3s was damaged in the cache; it was removed -> run the same command again"):
        mine.bundle(["k3s"], tmp_path / "bundle")
    assert list((tmp_path / "bundle").iterdir()) == []
    mine.bundle(["k3s"], tmp_path / "bundle")
    assert (tmp_path / "bundle/k3s").read_bytes() == DATA


def test_a_torn_record_is_written_anew(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    mine.ensure(["k3s"])
    for record in (tmp_path / "cache/keys").glob("*.json"):
        record.write_text('{"sha256": "', encoding="utf-8")
    assert mine.ensure(["k3s"])["k3s"].path.read_bytes() == DATA


def test_verify_finds_what_size_and_time_hide(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    hide_damage(mine.ensure(["k3s"])["k3s"].path)
    assert [(one.sha256, one.good) for one in mine.cache.verify()] == [(sha256(DATA), False)]
    assert mine.ensure(["k3s"])["k3s"].path.read_bytes() == DATA
    assert [one.good for one in mine.cache.verify()] == [True]


def test_verify_sweeps_what_dead_processes_left_long_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (tmp_path / "tmp/dead").mkdir(parents=True)
    (tmp_path / "tmp/dead/half").write_bytes(b"x")
    (tmp_path / "tmp/alive").mkdir()
    cache.part("old").write_bytes(b"x")
    cache.part("new").write_bytes(b"x")
    long_ago = time.time() - 30 * 24 * 3600
    for path in (tmp_path / "tmp/dead", cache.part("old")):
        os.utime(path, (long_ago, long_ago))
    assert list(cache.verify()) == []
    assert leftovers(tmp_path) == [str(cache.part("new").relative_to(tmp_path))]
    assert (tmp_path / "tmp/alive").is_dir()


def hide_damage(path: Path) -> None:
    """Change the last byte and neither size nor time, as a bad disk does."""
    seen, data = path.stat(), path.read_bytes()
    path.chmod(0o755)
    path.write_bytes(data[:-1] + b"!")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


# --- files, bundles, speed -----------------------------------------------------------------------------------------


def test_a_local_file_is_copied_and_a_new_one_noticed(tmp_path: Path) -> None:
    source = tmp_path / "k3s"
    source.write_bytes(b"one")
    mine = store(tmp_path / "cache", pins(tmp_path, k3s={"file": {"path": str(source)}}))
    first = mine.ensure(["k3s"])["k3s"]
    source.write_bytes(b"two!")
    second = mine.ensure(["k3s"])["k3s"]
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"one", b"two!")
    source.unlink()
    with pytest.raises(StepError, match="no such file -> mend the path"):
        mine.ensure(["k3s"])


def test_a_link_into_the_cache_is_taken_once(tmp_path: Path) -> None:
    """An overlay may name files that another pins file has put into the same cache."""
    (tmp_path / "original").write_bytes(DATA)
    first = pins(tmp_path / "a", k3s={"file": {"path": str(tmp_path / "original")}})
    path = store(tmp_path / "cache", first).ensure(["k3s"])["k3s"].path
    (tmp_path / "link").symlink_to(path)
    mine = store(tmp_path / "cache", pins(tmp_path / "b", k3s={"file": {"path": str(tmp_path / "link")}}))
    mine.ensure(["k3s"])
    again = Told()
    assert mine.ensure(["k3s"], again)["k3s"].path == path
    assert again.events == []


def test_ctrl_c_while_it_waits_for_another_process(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    with Cache(tmp_path / "cache").lock(f"download {url}", "a test"):
        process = af.command(tmp_path / "cache", overlay(tmp_path, url, sha256(DATA)), "fetch", "k3s", "-o", "json")
        assert process.stdout is not None
        while "waiting for" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert af.ended(process, 5)[0] == 130


def test_a_local_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k3s").write_bytes(b"one")
    made = pins(tmp_path, k3s={"file": {"path": str(tmp_path / "k3s"), "sha256": "0" * 64}})
    with pytest.raises(StepError, match=rf"wrong digest: it has sha256 {sha256(b'one')}, expected {'0' * 64}"):
        store(tmp_path / "cache", made).ensure(["k3s"])


def test_a_bundle_carries_everything_to_a_machine_without_a_network(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    (tmp_path / "images.tar").write_bytes(b"images")
    made = pins(
        tmp_path,
        k3s=release(url, sha256(DATA)),
        images={
            "kind": "images",
            "release": {"amd64": {"url": vendor.serve("/i", b"images"), "sha256": sha256(b"images")}},
        },
    )
    store(tmp_path / "cache", made).bundle(["k3s", "images"], tmp_path / "bundle")
    vendor.server.stop()
    there = store(tmp_path / "there", made, sources=af.bundle_only(tmp_path / "bundle"))
    found = there.ensure(["k3s", "images"])
    assert (found["k3s"].path.read_bytes(), found["images"].path.read_bytes()) == (DATA, b"images")
    assert found["k3s"].path.stat().st_mode & 0o111
    damaged = tmp_path / "bundle/images"
    damaged.write_bytes(b"imagez")
    assert there.ensure(["images"])["images"].path.read_bytes() == b"images"
    elsewhere = store(tmp_path / "elsewhere", made, sources=af.bundle_only(tmp_path / "bundle"))
    with pytest.raises(StepError, match=r"take images from .*wrong digest.*fetch or bundle it again"):
        elsewhere.ensure(["images"])


def test_twelve_artifacts_that_are_there_cost_under_fifty_milliseconds(vendor: Vendor, tmp_path: Path) -> None:
    data = noise(1000)
    entries = {
        f"f{n}": release(vendor.serve(f"/f{n}", data + bytes([n])), sha256(data + bytes([n]))) for n in range(12)
    }
    made = pins(tmp_path, **entries)
    store(tmp_path / "cache", made).ensure(list(entries))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        store(tmp_path / "cache", made).ensure(list(entries))
        times.append(time.perf_counter() - began)
    assert sorted(times)[2] < 0.05
