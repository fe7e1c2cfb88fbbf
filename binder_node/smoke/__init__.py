"""Checks of a running node: is it as its inventory says, and does it do what it is for?

A check is a pytest function in a ``test_LAYER.py`` of this package, run by ``binder-node smoke NODE`` and by
``pytest --pyargs binder_node.smoke --node NODE`` alike::

    @check("k3s.pods", "the kubelet takes as many pods as the inventory says", needs="k3s.api", guide=1)
    def test_pods(spec: Spec, cluster: Cluster) -> None:
        expect(judge.pods(cluster.node, spec.kubernetes.max_pods))

- **Id**: ``LAYER.NAME``, the layer one of :data:`binder_node.smoke.checks.LAYERS`. It is an operator's word for the
  check, and stays.
- **Needs**: the checks without which this one says nothing. When one of them failed, this one is not run and is told
  as *blocked*, because of the failed ones. So one cause fails one check; whatever would fail with it must need it.
- **Failing**: ``expect(trouble, ...)`` with :class:`~binder_node.smoke.checks.Trouble`, a reason and a remedy. What
  is wrong is decided by pure functions (``judge_LAYER.py``), with tests of their own; a check only fetches. A
  StepError or DeadlineError that comes out of a check is a failure too, with its own reason and remedy. Any other
  exception is a bug of the check and shows its traceback. ``pytest.skip`` says that a check does not apply to the node.
- **Deep** (``deep=True``): it writes or launches. Run with ``--deep`` only, after all that are not. Everything that it
  makes has a name that begins with :data:`~binder_node.smoke.checks.RESERVED`, and it takes that away again, also
  when it failed or was interrupted.
- **Guide**: numbers of the field guide's failures that it catches (``guide.py`` has their words).
- A session's fixture that several checks share must not be the one that fails: let a check of its own look first, and
  the others need that one.

Fixtures (``conftest.py``; all of the session): ``node`` (:class:`binder_node.node.Node`, without artifacts), ``spec``,
``opened`` (with the pins), ``access`` and ``address`` (how to reach the machine), ``host`` (testinfra's Host over
:mod:`binder_node.remote`: strict, as root, each command with a deadline: ``host.run("...", timeout=120)``),
``kubectl`` (the node's own, its answer parsed: ``kubectl("get nodes")``), ``binder``
(:class:`binder_node.binder.client.Binder`, at the node's own address).

Whoever wants to follow a run implements the hooks of :mod:`binder_node.smoke.hooks`.
"""
