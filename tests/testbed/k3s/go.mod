module binder-node.test/k3s

go 1.25

require (
	github.com/klauspost/compress v1.18.2
	go.yaml.in/yaml/v3 v3.0.4
)
