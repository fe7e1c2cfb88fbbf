// K3s's own fork of kube-router at the version that K3s embeds for NetworkPolicy. The checksum database does not know
// it: its sums, in go.sum, are those of K3s's go.sum.
module binder-node.test/kube-router

go 1.25.0

replace github.com/cloudnativelabs/kube-router/v2 => github.com/k3s-io/kube-router/v2 v2.6.3-k3s1

require github.com/cloudnativelabs/kube-router/v2 v2.0.0-00010101000000-000000000000
