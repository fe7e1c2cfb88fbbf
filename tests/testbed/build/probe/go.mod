module binder-node.test/probe

go 1.25
