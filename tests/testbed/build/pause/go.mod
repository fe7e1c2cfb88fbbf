module binder-node.test/pause

go 1.25
