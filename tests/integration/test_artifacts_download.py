"""Downloads from a server on real sockets that cuts, stalls, lies and moves."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node.artifacts.store import Limits, Sources
from binder_node.errors import DeadlineError, StepError
from tests.integration import artifacts_fixtures as af
from tests.integration.artifacts_fixtures import Told, Vendor, leftovers, noise, pins, release, sha256, store, tarball

DATA = noise(3_000_000)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with af.vendor() as made:
        yield made


def test_a_file_comes_whole_executable_and_is_not_asked_for_twice(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    told = Told()
    artifact = mine.ensure(["k3s"], told)["k3s"]
    assert artifact.path.read_bytes() == DATA
    assert (artifact.sha256, artifact.size, artifact.path.stat().st_mode & 0o777) == (sha256(DATA), len(DATA), 0o555)
    assert mine.ensure(["k3s"])["k3s"] == artifact
    assert vendor.seen == [("/k3s", "", len(DATA))]
    last = [event.data for event in told.events if event.kind == "progress"][-1]
    assert last == {"name": "k3s", "done": len(DATA), "total": len(DATA), "unit": "bytes"}
    assert leftovers(tmp_path / "cache") == [f"sha256/{sha256(DATA)[:2]}/{sha256(DATA)}/k3s"]


def test_one_archive_for_two_programs_is_fetched_once(vendor: Vendor, tmp_path: Path) -> None:
    data = tarball(bin__buildkitd=b"daemon", bin__buildctl=b"client", README=b"x")
    url = vendor.serve("/buildkit.tar.gz", data)
    made = pins(
        tmp_path,
        buildkitd=release(url, sha256(data), member="bin/buildkitd"),
        buildctl=release(url, sha256(data), member="bin/buildctl"),
    )
    found = store(tmp_path / "cache", made).ensure(["buildkitd", "buildctl"])
    assert (found["buildkitd"].path.read_bytes(), found["buildctl"].path.read_bytes()) == (b"daemon", b"client")
    assert found["buildctl"].sha256 == sha256(b"client")
    assert vendor.count("/buildkit.tar.gz") == 1


def test_a_member_that_is_not_there(vendor: Vendor, tmp_path: Path) -> None:
    data = tarball(bin__other=b"x")
    url = vendor.serve("/a.tar.gz", data)
    with pytest.raises(StepError, match=r"unpack a.tar.gz: it has no file bin/tool -> .*member is wrong"):
        store(tmp_path / "cache", pins(tmp_path, tool=release(url, sha256(data), member="bin/tool"))).ensure(["tool"])


def test_a_cut_download_goes_on_from_there_in_the_same_call(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, cuts=[1_000_000, 500_000])
    found = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert found["k3s"].path.read_bytes() == DATA
    assert [asked for _, asked, _ in vendor.seen] == ["", "bytes=1000000-", "bytes=1500000-"]


def test_a_download_that_keeps_breaking_off_says_so_and_the_next_call_goes_on(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, cuts=[2_000_000, 0, 0])
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    with pytest.raises(StepError, match=r"fetch k3s: .* broke off: .* -> run it again: it goes on from there"):
        mine.ensure(["k3s"])
    assert not list((tmp_path / "cache").glob("sha256/*/*/*"))
    assert mine.ensure(["k3s"])["k3s"].path.read_bytes() == DATA
    assert vendor.seen[-1] == ("/k3s", "bytes=2000000-", 1_000_000)


def test_a_server_without_ranges_starts_over(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, ranges=False, cuts=[1_000_000])
    found = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert found["k3s"].path.read_bytes() == DATA


def test_a_file_that_changed_between_two_tries_is_not_glued_together(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", noise(3_000_000, seed=2), etag='"old"', cuts=[1_000_000, 0, 0])
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    with pytest.raises(StepError):
        mine.ensure(["k3s"])
    vendor.files["/k3s"] = af.File(DATA, etag='"new"')
    assert mine.ensure(["k3s"])["k3s"].path.read_bytes() == DATA
    assert vendor.seen[-1] == ("/k3s", "bytes=1000000-", len(DATA))  # If-Range: the whole of the new one


@pytest.mark.parametrize("size", [1_000_000, len(DATA), len(DATA) + 5], ids=["shorter", "as long", "longer"])
def test_a_damaged_part_is_thrown_away_and_all_of_it_fetched(vendor: Vendor, tmp_path: Path, size: int) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    mine.cache.part(f"{url} {sha256(DATA)}").write_bytes(b"\0" * size)
    told = Told()
    assert mine.ensure(["k3s"], told)["k3s"].path.read_bytes() == DATA
    assert size > len(DATA) or told.messages("warn") == ["k3s: what was there is damaged; fetching all of it again"]


def test_a_whole_part_needs_no_server(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA))))
    mine.cache.part(f"{url} {sha256(DATA)}").write_bytes(DATA)
    assert mine.ensure(["k3s"])["k3s"].path.read_bytes() == DATA
    assert vendor.seen == []


def test_a_wrong_digest_shows_both_and_leaves_nothing(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    mine = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, "0" * 64)))
    with pytest.raises(StepError) as caught:
        mine.ensure(["k3s"])
    assert sha256(DATA) in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert leftovers(tmp_path / "cache") == []


def test_silence_ends_at_its_deadline(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, stalls=[1_000_000, 0, 0])
    began = time.monotonic()
    with pytest.raises(DeadlineError, match=r"waited 1 s for bytes from http://.*/k3s: it fell silent") as caught:
        store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert time.monotonic() - began < 8
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("status", "says"), [(404, "moved or removed"), (403, "not given out")])
def test_a_refusal_is_final(vendor: Vendor, tmp_path: Path, status: int, says: str) -> None:
    url = vendor.serve("/k3s", DATA, statuses=[status] * 9)
    with pytest.raises(StepError, match=rf"answers {status} .*{says}"):
        store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert vendor.count("/k3s") == 1
    assert leftovers(tmp_path / "cache") == []


def test_a_server_in_trouble_is_asked_again(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA, statuses=[503])
    found = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert found["k3s"].size == len(DATA)
    vendor.files["/k3s"].statuses = [503] * 9
    with pytest.raises(StepError, match=r"answers 503 .*try again later"):
        store(tmp_path / "other", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/k3s", "http://binder-node.invalid/k3s"], ids=["nobody listens", "no such host"]
)
def test_a_host_that_cannot_be_reached(tmp_path: Path, url: str) -> None:
    with pytest.raises(StepError, match=rf"{url} cannot be reached: .* -> check the network"):
        store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])


def test_redirects_are_followed(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.redirect("/latest/k3s", vendor.serve("/objects/1234", DATA))
    found = store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
    assert found["k3s"].path.name == "k3s"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1, and a server's side of it."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*argv, "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def test_a_redirect_away_from_https_is_refused(
    vendor: Vendor, tmp_path: Path, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    plain = vendor.serve("/k3s", DATA)
    with af.vendor(ssl_context=certificate[1]) as secure:
        url = secure.redirect("/k3s", plain)
        with pytest.raises(StepError, match=r"redirects to http://.*not https"):
            store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])
        good = secure.serve("/good", DATA)
        found = store(tmp_path / "cache", pins(tmp_path, k3s=release(good, sha256(DATA)))).ensure(["k3s"])
    assert found["k3s"].size == len(DATA)
    assert vendor.seen == []


def test_an_unknown_certificate_is_named_as_such(tmp_path: Path, certificate: tuple[Path, ssl.SSLContext]) -> None:
    with af.vendor(ssl_context=certificate[1]) as secure:
        url = secure.serve("/k3s", DATA)
        with pytest.raises(StepError, match=r"certificate.*SSL_CERT_FILE"):
            store(tmp_path / "cache", pins(tmp_path, k3s=release(url, sha256(DATA)))).ensure(["k3s"])


def test_the_vendors_list_decides_once_and_is_remembered(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    listed = vendor.serve("/sums.txt", f"{'b' * 64}  other\n{sha256(DATA)}  k3s\n".encode())
    made = pins(tmp_path, k3s=release(url, checksums=listed))
    assert store(tmp_path / "cache", made).ensure(["k3s"])["k3s"].sha256 == sha256(DATA)
    assert f'"{url}" = "{sha256(DATA)}"' in (tmp_path / "pins.lock").read_text(encoding="utf-8")
    # From now on the vendor may say what it likes: another file under the same URL is refused.
    vendor.files["/sums.txt"].data = f"{'c' * 64}  k3s\n".encode()
    vendor.files["/k3s"].data = noise(10)
    with pytest.raises(StepError, match=f"wrong digest.*expected {sha256(DATA)}"):
        store(tmp_path / "other", made).ensure(["k3s"])
    assert vendor.count("/sums.txt") == 1


@pytest.mark.parametrize(
    ("served", "says"),
    [(f"{'b' * 64}  other\n".encode(), "has no line for it"), (b"x" * (2 << 20), "is no checksum list")],
    ids=["not our file", "no list"],
)
def test_a_list_that_does_not_help(vendor: Vendor, tmp_path: Path, served: bytes, says: str) -> None:
    url, listed = vendor.serve("/k3s", DATA), vendor.serve("/sums.txt", served)
    with pytest.raises(StepError, match=says):
        store(tmp_path / "cache", pins(tmp_path, k3s=release(url, checksums=listed))).ensure(["k3s"])
    assert vendor.count("/k3s") == 0
    assert not (tmp_path / "pins.lock").exists()


def test_without_digest_and_list_nothing_is_taken_on_trust(vendor: Vendor, tmp_path: Path) -> None:
    url = vendor.serve("/k3s", DATA)
    with pytest.raises(StepError, match="neither a digest nor a checksum list -> add sha256"):
        store(tmp_path / "cache", pins(tmp_path, k3s=release(url))).ensure(["k3s"])
    assert vendor.seen == []


def test_one_failure_keeps_what_succeeded_and_tells_every_other(vendor: Vendor, tmp_path: Path) -> None:
    good = vendor.serve("/good", DATA)
    made = pins(
        tmp_path,
        good=release(good, sha256(DATA)),
        bad=release(vendor.server.url_for("/bad"), "0" * 64),
        worse=release("http://127.0.0.1:9/worse", "0" * 64),
    )
    vendor.serve("/bad", DATA, statuses=[404] * 9)
    mine, told = store(tmp_path / "cache", made), Told()
    with pytest.raises(StepError, match="404"):
        mine.ensure(["good", "bad", "worse"], told)
    assert any("worse cannot be reached" in message for message in told.messages("warn"))
    assert list(mine.cached(["good", "bad", "worse"])) == ["good"]


def test_the_next_source_is_tried_when_the_operator_named_one(vendor: Vendor, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    url = vendor.serve("/k3s", DATA)
    made = pins(tmp_path, k3s=release(url, sha256(DATA)))
    store(tmp_path / "cache", made).bundle(["k3s"], bundle)
    vendor.files["/k3s"].statuses = [404] * 9
    told = Told()
    sources = Sources(("release", "bundle"), bundle)
    found = store(tmp_path / "other", made, sources=sources).ensure(["k3s"], told)
    assert found["k3s"].path.read_bytes() == DATA
    assert "trying the next source" in told.messages("warn")[0]


def test_downloads_run_side_by_side_up_to_the_limit(vendor: Vendor, tmp_path: Path) -> None:
    data = noise(4 * af.CHUNK)
    entries = {f"f{n}": release(vendor.serve(f"/f{n}", data, delay=0.1), sha256(data)) for n in range(6)}
    began = time.monotonic()
    store(tmp_path / "one", pins(tmp_path, **entries), limits=Limits(downloads=6)).ensure(list(entries))
    together = time.monotonic() - began
    began = time.monotonic()
    store(tmp_path / "two", pins(tmp_path, **entries), limits=Limits(downloads=1)).ensure(list(entries))
    assert together < 0.6 * (time.monotonic() - began)
