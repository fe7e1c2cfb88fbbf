"""Layer ``pipeline``: a branch that nobody has built, all the way to a server; and the same once more from the
registry alone, after the image was taken off the node."""

from __future__ import annotations

from binder_node.smoke import judge_pipeline as judge
from binder_node.smoke import judge_registry
from binder_node.smoke.checks import Trouble, check, expect
from binder_node.smoke.trial import Trial
from binder_node.spec.model import Spec


@check("pipeline.branch", "a fresh branch can be pushed", needs="k3s.api", deep=True)
def test_branch(trial: Trial) -> None:
    if not trial.repository:
        remedy = "name one that this node can clone and you may push to: --repository URL, --push-to URL"
        expect(Trouble("there is no repository to push a fresh branch to", remedy))
    trial.push()


@check(
    "pipeline.build",
    "a branch that nobody has built is built",
    needs=(
        "pipeline.branch",
        "k3s.schedulable",
        "buildkit.network",
        "buildkit.engine",
        "registry.push",
        "binder.registry",
        "binder.hub",
        "binder.quota",
    ),
    guide=(11, 15),
    deep=True,
)
def test_build(trial: Trial, spec: Spec) -> None:
    expect(judge.built(trial.build(), spec))


@check("pipeline.launch", "what was built comes up as a server", needs="pipeline.build", deep=True)
def test_launch(trial: Trial, spec: Spec) -> None:
    assert trial.first is not None
    expect(judge.launched(trial.first, spec))


@check(
    "pipeline.pushed",
    "the registry has it whole, as the one manifest that BinderHub asks for",
    needs=("pipeline.build", "registry.pull"),
    guide=(11, 12),
    deep=True,
)
def test_pushed(trial: Trial) -> None:
    expect(judge_registry.one_manifest(trial.ask_manifest(), trial.image))
    expect(*judge_registry.layers_there(trial.ask_layers(), trial.manifest))


@check(
    "pipeline.pulled",
    "taken off the node, it is pulled again by its digest",
    needs=("pipeline.launch", "pipeline.pushed", "registry.containerd-pull"),
    guide=30,
    deep=True,
)
def test_pulled(trial: Trial) -> None:
    assert trial.first is not None
    trial.stop(trial.first)
    trial.take_off(trial.image)
    if trial.has(trial.image):
        expect(Trouble(f"{trial.image} cannot be taken off the node", "does something still run it?"))
    trial.pull(trial.by_digest)


@check(
    "pipeline.relaunch",
    "a second launch builds nothing and pulls it",
    needs="pipeline.pulled",
    guide=30,
    deep=True,
)
def test_relaunch(trial: Trial, spec: Spec) -> None:
    found = trial.relaunch()
    reasons = trial.reasons(found) if found.phases[-1:] == ["ready"] else []
    expect(*judge.relaunched(found, reasons, spec))
