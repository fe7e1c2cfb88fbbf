"""What of a registry goes and what stays: from names, times, manifests and the access log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from binder_node.host.on_node.retention import images, records
from binder_node.host.on_node.retention.images import Repository, Request, request_of
from binder_node.host.on_node.retention.journal import Read

DAY = 86400.0
NOW = 1_800_000_000.0
TAGS = "docker/registry/v2/repositories/binder/a/_manifests/tags/"
BELOW = "docker/registry/v2/repositories/binder/a/"


def repository(**tags: tuple[str, float]) -> Repository:
    """``binder/a`` with tags of a digest and a time; each manifest has a layer called after it."""
    found = Repository("binder/a")
    for tag, (digest, at) in tags.items():
        found.add(f"{TAGS}{tag}/current/link", at)
        found.add(f"{TAGS}{tag}/index/sha256/{digest}/link", at)
        found.add(f"{BELOW}_manifests/revisions/sha256/{digest}/link", at)
        found.add(f"{BELOW}_layers/sha256/{digest}layer/link", at)
    return found


LOG = '10.42.0.5 - - [21/Nov/2026:22:30:00 +0000] "{}" {} 1234 "" "python-requests/2.32"'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (LOG.format("GET /v2/binder/a/manifests/1f HTTP/1.1", 200), Request("GET", "binder/a", "1f", 200)),
        (LOG.format("HEAD /v2/binder/a/manifests/sha256:12?ns=x HTTP/1.1", 200),
         Request("HEAD", "binder/a", "sha256:12", 200)),
        (LOG.format("PUT /v2/binder/a/manifests/1f HTTP/1.1", 201), Request("PUT", "binder/a", "1f", 201)),
        (LOG.format("PUT /v2/a/manifests/sha256%3A12 HTTP/1.1", 201), Request("PUT", "a", "sha256:12", 201)),
        (LOG.format("GET /v2/binder/a/blobs/sha256:12 HTTP/1.1", 200), None),
        (LOG.format("DELETE /v2/binder/a/manifests/sha256:12 HTTP/1.1", 202), None),
        ('{"level":"info","msg":"response completed","http.request.uri":"/v2/a/manifests/1"}', None),
        (LOG.format("GET /manifests/1 HTTP/1.1", 404), None),
        ("started", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_access_log_tells_who_asked_for_which_image(line: str, found: Request | None) -> None:
    assert request_of(line) == found


def test_a_use_is_an_answer_that_gave_the_image() -> None:
    given = [Request("GET", "a", "1", status).used for status in (200, 201, 304, 401, 404, 405)]
    assert given == [True, True, False, False, False, False]
    assert [Request("GET", "a", ref, 200).name for ref in ("1", "sha256:2")] == ["a:1", "a@sha256:2"]


def test_the_last_use_is_by_tag_by_digest_or_the_push_and_never_before_it_was_watched() -> None:
    found = repository(one=("d1", NOW - 40 * DAY))
    uses = {"binder/a:one": NOW - 3 * DAY, "binder/a@sha256:d1": NOW - 2 * DAY, "binder/b:one": NOW}
    assert images.last_use(found, "one", uses, 0) == NOW - 2 * DAY
    assert images.last_use(found, "one", {}, 0) == NOW - 40 * DAY
    assert images.last_use(found, "one", {}, NOW - 5 * DAY) == NOW - 5 * DAY


def test_what_no_kept_tag_needs_goes_where_it_is_old_enough() -> None:
    found = repository(one=("d1", NOW - 40 * DAY), two=("d2", NOW - 40 * DAY))
    found.add(f"{BELOW}_layers/sha256/young/link", NOW - 10)
    found.add(f"{BELOW}_uploads/7/data", NOW - 2 * DAY)
    going = images.unreached(found, ["two"], {"d2", "d2layer"}, NOW - DAY)
    assert images.ordered(going) == [
        f"{TAGS}one/current/link",
        f"{TAGS}one/index/sha256/d1/link",
        f"{BELOW}_manifests/revisions/sha256/d1/link",
        f"{BELOW}_layers/sha256/d1layer/link",
        f"{BELOW}_uploads/7/data",
    ]


def test_tags_of_which_one_begins_with_the_other_are_two() -> None:
    found = repository(one=("d1", 1.0), one1=("d2", 1.0))
    assert f"{TAGS}one/current/link" in images.unreached(found, ["one1"], {"d2", "d2layer"}, NOW)


def test_blobs_go_last_and_nothing_goes_that_is_not_the_registrys() -> None:
    keys = [
        images.data("ab12"),
        f"{BELOW}_layers/sha256/x/link",
        "binder-node-backup/bids/x.age",
        f"{TAGS}1/current/link",
    ]
    assert images.ordered(keys) == [f"{TAGS}1/current/link", f"{BELOW}_layers/sha256/x/link", images.data("ab12")]
    assert images.data("ab12") == "docker/registry/v2/blobs/sha256/ab/ab12/data"


def test_a_manifest_names_what_lies_here() -> None:
    manifest = {
        "config": {"digest": "sha256:c"},
        "layers": [{"digest": "sha256:l"}, {"digest": "sha256:foreign", "urls": ["https://example.org"]}],
    }
    assert images.references(json.dumps(manifest).encode()) == ({"c", "l"}, set())
    index = {"manifests": [{"digest": "sha256:m"}, {"digest": "sha512:n"}]}
    assert images.references(json.dumps(index).encode()) == (set(), {"m"})
    for broken in (b"", b"[]", b"half a manif"):
        with pytest.raises(ValueError):
            images.references(broken)


def test_beyond_its_size_the_registry_loses_what_was_used_longest_ago() -> None:
    sizes = {"base": 100, "a": 10, "b": 20, "c": 30}
    kept = {"a": (3.0, {"base", "a"}), "b": (2.0, {"base", "b"}), "c": (1.0, {"base", "c"})}
    assert images.fits(kept, sizes, 160) == 0
    assert images.fits(kept, sizes, 159) == 2.0
    assert images.fits(kept, sizes, 129) == 3.0
    # The last one is what somebody is about to use.
    assert images.fits(kept, sizes, 1) == 3.0
    assert images.fits({}, sizes, 1) == 0


# --- records -------------------------------------------------------------------------------------------------------


def record(since: float, noted: float, **uses: float) -> dict[str, Any]:
    return {"since": since, "noted": noted, "cursor": "", "uses": uses}


def test_watching_began_where_the_oldest_machine_without_a_gap_did() -> None:
    mine = record(NOW - 5 * DAY, NOW)
    before = record(NOW - 50 * DAY, NOW - 4.9 * DAY)
    long_ago = record(NOW - 90 * DAY, NOW - 60 * DAY)
    assert images.covered([mine], NOW, DAY) == NOW - 5 * DAY
    assert images.covered([long_ago, mine, before], NOW, DAY) == NOW - 50 * DAY
    assert images.covered([], NOW, DAY) == NOW


def test_the_later_of_two_machines_uses_counts() -> None:
    assert images.merged([record(0, 0, a=5, b=1), record(0, 0, a=3, c=2)]) == {"a": 5, "b": 1, "c": 2}


def test_a_record_grows_and_starts_anew_when_more_than_a_day_of_the_log_is_lost() -> None:
    used = Request("GET", "a", "1", 200)
    first = records.noted(None, Read([(NOW, used)], "s=1", True, NOW - 9 * DAY), NOW)
    assert first == {"since": NOW - 9 * DAY, "noted": NOW, "cursor": "s=1", "uses": {"a:1": int(NOW)}}
    nothing = records.noted(first, Read([], "s=1", True, NOW), NOW + 3600)
    assert nothing == {**first, "noted": NOW + 3600}
    gap = Read([(NOW + 5000, used)], "s=9", False, NOW + 4000)
    assert records.noted(first, gap, NOW + 7200)["since"] == NOW - 9 * DAY
    lost = Read([(NOW + 3 * DAY, used)], "s=9", False, NOW + 2 * DAY)
    after = records.noted(first, lost, NOW + 3 * DAY)
    assert (after["since"], after["uses"]) == (NOW + 2 * DAY, {"a:1": int(NOW + 3 * DAY)})


def test_another_machine_has_the_bucket_for_a_day_after_its_last_word(tmp_path: Any) -> None:
    (tmp_path / "id").write_text("1234\n")
    config = {"node": "bids-2", "prefix": "uses/", "machine_id": str(tmp_path / "id")}
    mine = records.own_name(config)
    found = {
        mine: record(0, NOW),
        "uses/bids-1-aaaa.json": record(0, NOW - DAY + 60),
        "uses/bids-0-bbbb.json": record(0, NOW - DAY - 60),
    }
    assert records.others(config, found, NOW) == ["bids-1-aaaa"]
    assert mine.startswith("uses/bids-2-")
