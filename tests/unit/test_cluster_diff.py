"""What ``plan`` tells of a new release: its objects, its values, and none of their secrets."""

from __future__ import annotations

from typing import Any

from binder_node.cluster.diff import differences, unified, values_diff
from binder_node.cluster.helm import masked
from binder_node.secrets.masked import Masked


def named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, **more}


def test_the_same_objects_in_another_order_are_no_difference() -> None:
    one, two = named("Service", "hub", spec={"a": 1, "b": 2}), named("Secret", "hub", data={"x": "1"})
    assert differences([one, two], [two, named("Service", "hub", spec={"b": 2, "a": 1})]) == []


def test_what_comes_what_goes_and_what_changes() -> None:
    old = [named("Service", "binder", spec={"type": "ClusterIP"}), named("Ingress", "hub")]
    new = [named("Service", "binder", spec={"type": "NodePort"}), named("Deployment", "hub")]
    assert differences(old, new) == [
        ("create", "Deployment hub", ""),
        ("delete", "Ingress hub", ""),
        (
            "update",
            "Service binder",
            "@@ -3,3 +3,3 @@\n   name: binder\n spec:\n-  type: ClusterIP\n+  type: NodePort",
        ),
    ]


def test_a_secret_tells_which_entry_changes_and_never_what_is_in_it() -> None:
    old = [named("Secret", "hub", data={"same": "aGVsbG8=", "token": "b2xk"}, stringData={"gone": "first text"})]
    new = [named("Secret", "hub", data={"same": "aGVsbG8=", "token": "bmV3"}, stringData={"added": "second text"})]
    ((action, name, diff),) = differences(old, new)
    assert (action, name) == ("update", "Secret hub")
    assert [line for line in diff.splitlines() if line[0] in "+-"] == [
        "-  token: '*** (old)'",
        "+  token: '*** (new)'",
        "-  gone: '*** (old)'",
        "+  added: '*** (new)'",
    ]
    for text in ("aGVsbG8=", "b2xk", "bmV3", "first", "second"):
        assert text not in diff


def test_a_unified_diff_has_no_header() -> None:
    assert unified("a\nb\n", "a\nc\n") == "@@ -1,2 +1,2 @@\n a\n-b\n+c"


def test_each_value_that_changes_with_the_layer_that_says_it() -> None:
    old = {"replicas": 1, "service": {"type": "ClusterIP"}, "gone": True}
    new = {"replicas": 2, "service": {"type": "ClusterIP"}, "config": {"LaunchQuota": {"total_quota": 0}}}
    layers = {"replicas": "mine.yaml", "service.type": "base", "config.LaunchQuota.total_quota": "size"}
    assert values_diff(old, new, layers).splitlines() == [
        "+config.LaunchQuota.total_quota: 0  (size)",
        "-gone: true",
        "-replicas: 1",
        "+replicas: 2  (mine.yaml)",
    ]


def test_equal_values_are_no_difference_secrets_included() -> None:
    new = {"proxy": {"secretToken": Masked("0123456789")}, "keys": [Masked("abcdefghij")], "empty": {}}
    assert values_diff({"proxy": {"secretToken": "0123456789"}, "keys": ["abcdefghij"], "empty": {}}, new, {}) == ""


def test_a_secret_that_changes_is_hidden_on_both_sides() -> None:
    old = {"keys": ["old-crypt-key"], "extraEnv": {"MY_TOKEN": "old-token"}}
    new = {"keys": [Masked("new-crypt-key")], "extraEnv": {"MY_TOKEN": "new-token"}}
    assert values_diff(old, new, {"keys": "node", "extraEnv.MY_TOKEN": "mine.yaml"}).splitlines() == [
        "-extraEnv.MY_TOKEN: ***",
        "+extraEnv.MY_TOKEN: ***  (mine.yaml)",
        "-keys: ***",
        "+keys: ***  (node)",
    ]


def test_long_texts_are_cut() -> None:
    (line,) = values_diff({}, {"extraConfig": {"a": "x" * 1000}}, {"extraConfig.a": "node"}).splitlines()
    assert line == '+extraConfig.a: "' + "x" * 199 + "...  (node)"


def test_what_others_say_is_masked_too() -> None:
    values = {"password": Masked("hunter22"), "extraEnv": {"API_TOKEN": "hunter22-and-more", "PORT": "80"}}
    said = "refused 'hunter22-and-more', 'hunter22' and 80"
    assert masked(said, values) == "refused '***', '***' and 80"
