"""A small federation of our own, file by file, and where the real one's values lie beside a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.federation.entry import Entry

# Values of mybinder.org's members, kept beside the checkout on some machines.
SHARED = Path(__file__).parents[3] / "shared/data/mybinder"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"the values of mybinder.org's members are not at {SHARED.name} beside the checkout"
)

PROD = """\
# Everything that only the prime runs.
redirector: {enabled: true}   # as it is

federationRedirect:
  enabled: true
  check: {period: 5}
  hosts:
    # the first one
    one:
      prime: true   # the front page
      url: "https://one.example.org"
      weight: 60
      health: 'https://one.example.org/health'
      versions: https://one.example.org/versions

    two:
      prime: false
      url: https://two.example.org/
      weight: 40  # since May
      health: https://two.example.org/health
      versions: https://two.example.org/versions
      # watch its disk

podLogs:
  enabled: false
"""

CD = """\
name: Deploy
on: push
jobs:
  prod-deploy:
    strategy:
      matrix:
        include:
          - federation_member: one
            chartpress_args: ""
            experimental: false

          - federation_member: two
            chartpress_args: ""
            experimental: false

    # who may
    permissions: {}
"""

HELM = """\
jobs:
  helm-template:
    strategy:
      matrix:
        include:
          # by hand
          - release: one
            k3s-channel: "v1.34"
          - release: two
            k3s-channel: "v1.34"
    steps: []
"""

PRUNE = """\
jobs:
  prune-harbor:
    strategy:
      matrix:
        include:
          - name: one
          - name: two
"""

VALUES = """\
binderhub:
  config:
    BinderHub:
      banner_message: |
        <b>Hello</b>
        Thanks to <a href="https://one.org">One</a>, <a href="https://two.org">Two</a>, and <a href="https://x.org">X</a> for supporting us!
      about_message: |
        <p>about</p>
"""  # noqa: E501

DEPLOY = """\
# Raw kubeconfigs
KUBECONFIG_CLUSTERS = {
    "localhost",
    "one",  # the first
    "two",
}

OTHERS = {}
"""

SOURCES = """\
[
 {
  "id": 3,
  "isDefault": true,
  "jsonData": {},
  "name": "One",
  "type": "prometheus",
  "uid": "abc",
  "url": "https://prometheus.one.example.org"
 },
 {
  "id": 7,
  "isDefault": false,
  "jsonData": {},
  "name": "Two",
  "type": "prometheus",
  "uid": "def",
  "url": "https://prometheus.two.example.org"
 }
]"""

TERRAFORM = 'locals {\n  federation_members = ["one", "two"]\n}\n'

GUIDE_MEMBERS = """\
# Alphabetical order

- url_binderhub: https://one.example.org
  logo: https://one.org/logo.svg
  funded_by: One
  funded_by_link: https://one.org

# gone for a while
- url_binderhub: https://two.example.org
  logo: https://two.org/logo.svg
  funded_by: Two
  funded_by_link: https://two.org
  active: false
"""

GUIDE_STATUS = """\
Status
======

====================  ========  ==============
  URL                 Response  JupyterHub API
====================  ========  ==============
one.example.org
two.example.org
====================  ========  ==============

Text.
"""

GUIDE_SCRIPT = """\
// in sync with status.rst
var fedUrls = [
  'https://one.example.org',
  'https://two.example.org',
];
"""

OWN = """\
binderhub:
  config:
    LaunchQuota:
      total_quota: 60   # by the machine's size
"""


def files() -> dict[str, str]:
    """The federation's repository, with a third member's values as `export` leaves them."""
    return {
        "config/prod.yaml": PROD,
        "config/lab.yaml": OWN,
        ".github/workflows/cd.yml": CD,
        ".github/workflows/test-helm-template.yaml": HELM,
        ".github/workflows/prune-harbor.yaml": PRUNE,
        "mybinder/values.yaml": VALUES,
        "deploy.py": DEPLOY,
        "grafana-data/datasources.json": SOURCES,
        "terraform/gcp/prod/main.tf": TERRAFORM,
    }


def guide() -> dict[str, str]:
    """The user guide's repository."""
    return {
        "docs/_data/support/federation.yml": GUIDE_MEMBERS,
        "docs/about/status.rst": GUIDE_STATUS,
        "docs/_static/status.js": GUIDE_SCRIPT,
    }


def lab(central: bool = True, **other: str) -> Entry:
    """A third member."""
    said = {
        "channel": "v1.35",
        "prometheus": "https://prometheus.lab.example.org" if central else "",
        "sponsor": "Lab",
        "sponsor_url": "https://lab.org",
        "logo": "https://lab.org/logo.svg",
        **other,
    }
    return Entry("lab", "https://lab.example.org", central, **said)
