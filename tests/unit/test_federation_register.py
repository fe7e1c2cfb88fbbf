"""Joining and leaving as changes to whole checkouts: every place, nothing twice, and back to the same bytes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from binder_node.errors import InputError
from binder_node.federation.checkout import federation
from binder_node.federation.leave import leave, next_phase
from binder_node.federation.places import PLACES
from binder_node.federation.register import Made, paths, register
from tests.unit.federation_samples import PROD, SHARED, files, guide, lab, needs_shared
from tests.unit.test_federation_checkout import LINES, changed

CENTRAL = [
    ".github/workflows/cd.yml",
    ".github/workflows/prune-harbor.yaml",
    ".github/workflows/test-helm-template.yaml",
    "config/prod.yaml",
    "deploy.py",
    "grafana-data/datasources.json",
    "mybinder/values.yaml",
    "terraform/gcp/prod/main.tf",
]
PAGES = ["docs/_data/support/federation.yml", "docs/_static/status.js", "docs/about/status.rst"]


def after(before: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
    return {path: text for path, text in {**before, **change}.items() if text is not None}


def new_lines(path: str, made: Made) -> list[str]:
    return changed({**files(), **guide()}[path], {**made.files, **made.guide}[path] or "")


def test_a_member_that_the_federation_deploys_is_in_every_place() -> None:
    made = register(files(), guide(), lab())
    assert (sorted(made.files), sorted(made.guide)) == (CENTRAL, PAGES)
    assert new_lines(".github/workflows/cd.yml", made) == [
        "+          - federation_member: lab",
        '+            chartpress_args: ""',
        "+            experimental: false",
        "+",
    ]
    assert new_lines(".github/workflows/test-helm-template.yaml", made) == [
        "+          - release: lab",
        '+            k3s-channel: "v1.35"',
    ]
    assert new_lines(".github/workflows/prune-harbor.yaml", made) == ["+          - name: lab"]
    assert new_lines("deploy.py", made) == ['+    "lab",']
    assert new_lines("terraform/gcp/prod/main.tf", made)[1] == '+  federation_members = ["one", "two", "lab"]'
    assert new_lines("mybinder/values.yaml", made)[1].endswith(
        '<a href="https://x.org">X</a>, and <a href="https://lab.org">Lab</a> for supporting us!'
    )
    assert new_lines("docs/_data/support/federation.yml", made) == [
        "+",
        "+- url_binderhub: https://lab.example.org",
        "+  logo: https://lab.org/logo.svg",
        "+  funded_by: Lab",
        "+  funded_by_link: https://lab.org",
    ]
    assert new_lines("docs/about/status.rst", made) == ["+lab.example.org"]
    assert new_lines("docs/_static/status.js", made) == ["+  'https://lab.example.org',"]
    sources = made.files["grafana-data/datasources.json"] or ""
    assert sources.index('"Lab"') < sources.index('"One"')
    assert '"id": 8' in sources
    assert [row for row in new_lines("grafana-data/datasources.json", made) if row.startswith("-")] == []


def test_a_member_deployed_from_here_is_in_no_pipeline_of_the_federation() -> None:
    made = register(files(), guide(), lab(central=False))
    assert sorted(made.files) == ["config/prod.yaml", "mybinder/values.yaml"]
    assert sorted(made.guide) == PAGES
    assert any("deployed from here" in note for note in made.notes)


def test_twice_is_once() -> None:
    first = register(files(), guide(), lab())
    again = register(after(files(), first.files), after(guide(), first.guide), lab(), weight=50)
    assert again.empty
    assert again.notes == ()


def test_a_member_without_weight_waits_for_its_ramp() -> None:
    made = register(files(), None, lab(), weight=0)
    assert federation(made.files["config/prod.yaml"] or "").member("lab").weight == 0
    assert any("federation ramp" in note for note in made.notes)
    assert not any("federation ramp" in note for note in register(files(), None, lab()).notes)


def test_a_member_whose_name_moved_keeps_weight_and_role() -> None:
    moved = register({"config/prod.yaml": PROD}, None, lab(central=False))
    text = (moved.files["config/prod.yaml"] or "").replace("weight: 10", "weight: 33").replace("lab.example", "old")
    again = register({"config/prod.yaml": text}, None, lab(central=False))
    member = federation(again.files["config/prod.yaml"] or "").member("lab")
    assert (member.url, member.weight) == ("https://lab.example.org", 33)


@pytest.mark.parametrize("central", [True, False])
def test_all_phases_at_once_leave_every_file_as_it_was(central: bool) -> None:
    entry = lab(central)
    joined = after(files(), register(files(), None, entry).files)
    left = leave(joined, None, entry, "remove")
    before = files()
    if central:
        del before["config/lab.yaml"]  # what `export` wrote goes with it
    assert after(joined, left.files) == before


@needs_shared
def test_the_federations_own_file_comes_back_byte_for_byte() -> None:
    text = (SHARED / "prod.yaml").read_text(encoding="utf-8")
    before = {"config/prod.yaml": text}
    joined = register(before, None, lab(central=False))
    assert changed(text, joined.files["config/prod.yaml"] or "") == LINES
    there = after(before, joined.files)
    assert register(there, None, lab(central=False)).empty
    for phase, left in ((None, 1), (None, 0)):
        made = leave(there, None, lab(central=False), phase)
        there = after(there, made.files)
        assert federation(there["config/prod.yaml"]).prime.name == "hetzner-2i2c"
        assert len(made.files) == 1, left
    assert there == before


def test_leaving_goes_phase_by_phase_in_the_right_order() -> None:
    entry = lab()
    there = after(files(), register(files(), None, entry).files)
    there["config/prod.yaml"] = there["config/prod.yaml"].replace("prime: true ", "prime: false")
    at = there["config/prod.yaml"].index("    lab:\n")
    there["config/prod.yaml"] = there["config/prod.yaml"][:at] + there["config/prod.yaml"][at:].replace(
        "prime: false", "prime: true", 1
    )
    said = []
    while True:
        phase = next_phase(there, entry)
        made = leave(there, None, entry)
        if made.empty:
            break
        there = after(there, made.files)
        found = federation(there["config/prod.yaml"])  # never a null host, never a prime without weight
        weight = next((member.weight for member in found.members if member.name == "lab"), None)
        quota = "total_quota: 0" in there.get("config/lab.yaml", "")
        said.append((phase, made.what, found.prime.name, quota, weight))
    assert said == [
        ("prime", "Make one prime instead of lab", "one", False, 10),
        ("quota", "Drain lab: quota 0", "one", True, 10),
        ("weight", "Take lab out of rotation: weight 0", "one", True, 0),
        ("remove", "Remove lab from the federation", "one", False, None),
    ]


def test_values_without_a_quota_are_a_persons() -> None:
    there = {**after(files(), register(files(), None, lab()).files), "config/lab.yaml": "binderhub: {}\n"}
    made = leave(there, None, lab(), "weight")
    assert list(made.files) == ["config/prod.yaml"]
    assert made.notes[0] == "config/lab.yaml says no quota: set binderhub.config.LaunchQuota.total_quota to 0 by hand"


def test_the_heir_can_be_named_and_must_have_weight() -> None:
    entry = lab(central=False)
    own = {"config/prod.yaml": PROD.replace("\n    one:", "\n    lab:").replace("one.example", "lab.example")}
    made = leave(own, None, entry, heir="two")
    assert made.what == "Make two prime instead of lab"
    with pytest.raises(InputError, match="lab: is the only member with weight"):
        leave({"config/prod.yaml": own["config/prod.yaml"].replace("weight: 40", "weight: 0")}, None, entry)
    with pytest.raises(InputError, match="has no member three"):
        leave(own, None, entry, heir="three")


def test_the_guide_keeps_who_has_left_and_takes_them_back() -> None:
    joined = after(guide(), register(files(), guide(), lab()).guide)
    there = after(files(), register(files(), guide(), lab()).files)
    left = leave(there, joined, lab(), "remove")
    assert sorted(left.guide) == PAGES
    gone = after(joined, left.guide)
    assert changed(joined[PAGES[0]], gone[PAGES[0]]) == ["+  active: false"]
    back = register(files(), gone, lab())
    assert after(gone, back.guide) == joined


def test_what_is_written_otherwise_is_left_and_said() -> None:
    there = files()
    there["mybinder/values.yaml"] = there["mybinder/values.yaml"].replace("Thanks to", "Our thanks go to")
    there["deploy.py"] = "KUBECONFIG_CLUSTERS = load()\n"
    there["grafana-data/datasources.json"] += " \n"
    there["grafana-data/datasources.json"] = there["grafana-data/datasources.json"].replace('"id": 3', '"id":3')
    there[".github/workflows/cd.yml"] = "jobs: {}\n"
    there[".github/workflows/prune-harbor.yaml"] = "jobs: [\n"
    del there["terraform/gcp/prod/main.tf"]
    made = register(there, None, lab(logo=""))
    assert sorted(made.files) == [".github/workflows/test-helm-template.yaml", "config/prod.yaml"]
    notes = "\n".join(made.notes)
    for said in (
        "mybinder/values.yaml (banner): left as it is: it has no sentence",
        "deploy.py (clusters with a kubeconfig): left as it is: it has no list `KUBECONFIG_CLUSTERS = {` of words",
        "datasources.json (data source): left as it is: it was not written by scripts/grafana-export",
        "cd.yml (central deploy): left as it is: it has no members at jobs.prod-deploy.strategy.matrix.include",
        "prune-harbor.yaml (prune of the registry): left as it is:  is not YAML",
        "terraform/gcp/prod/main.tf (account for the events archive): not in this checkout",
    ):
        assert said in notes


def test_names_that_do_not_fit_are_left_and_said() -> None:
    long = lab(central=False)
    pages = guide()
    pages[PAGES[2]] = pages[PAGES[2]].replace("====================  =", "=======  =").replace("one.example", "o.eu")
    made = register(files(), pages, long)
    assert any("narrower than lab.example.org" in note for note in made.notes)
    assert any("wants a logo" in note for note in register(files(), guide(), lab(logo="")).notes)


def test_what_cannot_be_is_refused_before_anything_changes() -> None:
    with pytest.raises(InputError, match=r"config/prod\.yaml: is not in the checkout"):
        register({}, None, lab(central=False))
    without = {path: text for path, text in files().items() if path != "config/lab.yaml"}
    with pytest.raises(
        InputError, match=r"config/lab\.yaml: is not in the checkout; write it with .*federation export"
    ):
        register(without, None, lab())
    with pytest.raises(InputError, match="-1 is below 0"):
        register(files(), None, lab(), weight=-1)
    null = {"config/prod.yaml": PROD.replace("    two:\n", "    gone:\n    two:\n")}
    for do in (register, leave):
        with pytest.raises(InputError, match=r"config/prod\.yaml:16: federationRedirect\.hosts\.gone: is null"):
            do(null, None, lab(central=False))


def test_a_banner_of_one_or_two_is_english_both_ways() -> None:
    place = next(place for place in PLACES if place.about == "banner")
    one = files()[place.path]
    for names in (["One"], ["One", "Two"], ["One", "Two", "X"]):
        links = [f'<a href="https://{name.lower()}.org">{name}</a>' for name in names]
        sentence = " and ".join(links) if len(links) < 3 else f"{links[0]}, {links[1]} and {links[2]}"
        text = one[: one.index("Thanks to ")] + f"Thanks to {sentence} for supporting us" + one[one.index("!") :]
        new = place.put(text, lab())
        assert new != text
        assert place.put(new, lab()) == new
        assert place.take(new, lab()) == text
    last = one[: one.index("Thanks to ")] + 'Thanks to <a href="https://lab.org">Lab</a> for supporting us\n'
    with pytest.raises(Exception, match="thanks nobody else"):
        place.take(last, lab())


def test_every_file_is_looked_at() -> None:
    assert set(paths("lab")) == {"config/prod.yaml", "config/lab.yaml", *(p.path for p in PLACES if not p.guide)}
