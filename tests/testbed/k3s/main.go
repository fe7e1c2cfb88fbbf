// Command k3s stands in for K3s on machines that reach package registries only: it answers K3s's command line, reads
// K3s's files and keeps K3s's paths, and runs the real upstream components (Kubernetes, kine, containerd, kube-router,
// CoreDNS, Traefik) as its children. docs/testing.md lists what it cannot show.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// version is what the real binary would print, set by the builder (-ldflags -X).
var version = "v0.0.0+k3s1"

const usage = `usage: k3s COMMAND

  server             run the server and the node (see /etc/rancher/k3s/config.yaml)
  kubectl ...        run kubectl with the cluster's kubeconfig
  ctr ...            run containerd's ctr in the namespace k8s.io
  crictl ...         images, rmi, ps, pods, info, pull, inspecti, version
  token              print the server's token
  certificate check  print each certificate's expiry; "certificate rotate" makes new ones at the next start
  --version
`

func main() {
	name := filepath.Base(os.Args[0])
	args := os.Args[1:]
	switch name {
	case "kubectl", "ctr", "crictl": // K3s answers to these names too
		args = append([]string{name}, args...)
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "k3s:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		fmt.Print(usage)
		return nil
	}
	switch args[0] {
	case "-v", "--version", "version":
		fmt.Printf("k3s version %s (standin)\ngo version %s\n", version, runtime.Version())
		return nil
	case "-h", "--help", "help":
		fmt.Print(usage)
		return nil
	case "server":
		config, err := loadConfig(args[1:])
		if err != nil {
			return err
		}
		return serve(config)
	case "agent":
		return fmt.Errorf("the stand-in runs one node only: `agent` is not supported")
	case "kubectl":
		return tool("kubectl", args[1:], "KUBECONFIG="+kubeconfigPath)
	case "ctr":
		return tool("ctr", args[1:], "CONTAINERD_ADDRESS="+containerdSocket, "CONTAINERD_NAMESPACE=k8s.io")
	case "crictl":
		return tool("crictl", args[1:], "CONTAINER_RUNTIME_ENDPOINT=unix://"+containerdSocket)
	case "token":
		return printToken()
	case "certificate":
		return certificateCommand(args[1:])
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

// tool replaces this process by one of the bundled programs; what is already in the environment wins over defaults.
func tool(name string, args []string, defaults ...string) error {
	bin, err := extract(dataDirOf())
	if err != nil {
		return err
	}
	env := os.Environ()
	for _, assignment := range defaults {
		key := assignment[:indexByte(assignment, '=')]
		if _, set := os.LookupEnv(key); !set {
			env = append(env, assignment)
		}
	}
	path := filepath.Join(bin, name)
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, append([]string{name}, args...), env))
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return len(s)
}
