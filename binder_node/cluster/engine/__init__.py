"""What lets the stock repo2docker image build with BuildKit: an engine plugin, laid into the build pod from the node.

:mod:`.files` renders the folder that the node keeps (everything but ``buildctl`` itself, an artifact),
:mod:`.executor` the few lines of BinderHub configuration that mount it. ``site/`` below is *not* imported by
binder-node: it runs inside the build pod, with repo2docker's own libraries only.
"""
