package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	configPath       = "/etc/rancher/k3s/config.yaml"
	registriesPath   = "/etc/rancher/k3s/registries.yaml"
	kubeconfigPath   = "/etc/rancher/k3s/k3s.yaml"
	defaultDataDir   = "/var/lib/rancher/k3s"
	containerdSocket = "/run/k3s/containerd/containerd.sock"
)

type kind int

const (
	text kind = iota
	flag
	list
)

// known are the keys (and flags) of K3s that the stand-in honours. Any other is refused, as K3s refuses what it does
// not know, so that a typo, or a key whose effect nobody would see here, cannot pass a test.
var known = map[string]kind{
	"cluster-cidr": text, "service-cidr": text, "cluster-dns": text, "cluster-domain": text,
	"service-node-port-range": text, "data-dir": text, "node-name": text, "node-ip": text, "node-external-ip": text,
	"token": text, "write-kubeconfig-mode": text, "flannel-backend": text, "resolv-conf": text, "pause-image": text,
	"https-listen-port": text, "bind-address": text, "log": text, "lb-server-port": text,
	"disable-cloud-controller": flag, "disable-network-policy": flag, "disable-kube-proxy": flag,
	"disable-helm-controller": flag, "secrets-encryption": flag, "protect-kernel-defaults": flag, "debug": flag,
	"selinux": flag, "embedded-registry": flag, "cluster-init": flag, "snapshotter": text, "prefer-bundled-bin": flag,
	"disable": list, "tls-san": list, "node-label": list, "node-taint": list, "kubelet-arg": list,
	"kube-apiserver-arg": list, "kube-controller-manager-arg": list, "kube-scheduler-arg": list, "kube-proxy-arg": list,
}

// unsupported are keys that parse, but whose value must be the one given here.
var unsupported = map[string]string{"selinux": "false", "embedded-registry": "false", "cluster-init": "false", "snapshotter": "overlayfs"}

var components = map[string]bool{
	"coredns": true, "traefik": true, "servicelb": true, "metrics-server": true, "local-storage": true,
	"runtimes": true, "ccm": true,
}

type config struct {
	values                                map[string][]string
	dataDir, nodeName, nodeIP, externalIP string
	clusterCIDR, serviceCIDR, dns, domain string
	disabled                              map[string]bool
}

func (c *config) get(key, fallback string) string {
	if values := c.values[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return fallback
}

func (c *config) on(key string) bool { return c.get(key, "false") == "true" }

func (c *config) agent(parts ...string) string {
	return filepath.Join(append([]string{c.dataDir, "agent"}, parts...)...)
}

func (c *config) server(parts ...string) string {
	return filepath.Join(append([]string{c.dataDir, "server"}, parts...)...)
}

// loadConfig reads config.yaml, then config.yaml.d in order, then the flags: a later value replaces an earlier one,
// and `key+` adds to a list.
func loadConfig(args []string) (*config, error) {
	values := map[string][]string{}
	drops, err := filepath.Glob(configPath + ".d/*.yaml")
	if err != nil {
		return nil, err
	}
	sort.Strings(drops)
	for _, path := range append([]string{configPath}, drops...) {
		if err := readConfig(path, values); err != nil {
			return nil, err
		}
	}
	if err := readFlags(args, values); err != nil {
		return nil, err
	}
	for key, only := range unsupported {
		if got := values[key]; len(got) > 0 && got[len(got)-1] != only {
			return nil, fmt.Errorf("%s: the stand-in supports %q only", key, only)
		}
	}
	return complete(values)
}

func readConfig(path string, values map[string][]string) error {
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	document := map[string]yaml.Node{}
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for key, node := range document {
		name := strings.TrimSuffix(key, "+")
		if _, ok := known[name]; !ok {
			return fmt.Errorf("%s:%d: unknown key %q", path, node.Line, key)
		}
		given, err := scalars(node)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, key, err)
		}
		if known[name] != list && len(given) != 1 {
			return fmt.Errorf("%s: %s: one value is wanted, not a list", path, key)
		}
		if strings.HasSuffix(key, "+") {
			given = append(values[name], given...)
		}
		values[name] = given
	}
	return nil
}

func scalars(node yaml.Node) ([]string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return []string{node.Value}, nil
	case yaml.SequenceNode:
		var out []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a plain value is wanted", item.Line)
			}
			out = append(out, item.Value)
		}
		return out, nil
	}
	return nil, fmt.Errorf("line %d: a value or a list of values is wanted", node.Line)
}

func readFlags(args []string, values map[string][]string) error {
	fresh := map[string]bool{}
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			return fmt.Errorf("unexpected argument %q", args[i])
		}
		name, value, given := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		what, ok := known[name]
		switch {
		case !ok:
			return fmt.Errorf("unknown flag --%s", name)
		case !given && what == flag:
			value = "true"
		case !given && i+1 == len(args):
			return fmt.Errorf("--%s: a value is wanted", name)
		case !given:
			i++
			value = args[i]
		}
		if !fresh[name] { // flags replace what the files say
			values[name], fresh[name] = nil, true
		}
		values[name] = append(values[name], value)
	}
	return nil
}

func complete(values map[string][]string) (*config, error) {
	c := &config{values: values, disabled: map[string]bool{}}
	c.dataDir = c.get("data-dir", defaultDataDir)
	c.clusterCIDR, c.serviceCIDR = c.get("cluster-cidr", "10.42.0.0/16"), c.get("service-cidr", "10.43.0.0/16")
	c.domain = c.get("cluster-domain", "cluster.local")
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	c.nodeName = strings.ToLower(c.get("node-name", host))
	c.nodeIP = c.get("node-ip", "")
	if c.nodeIP == "" {
		if c.nodeIP, err = firstAddress(); err != nil {
			return nil, err
		}
	}
	c.externalIP = c.get("node-external-ip", "")
	ten, err := nth(c.serviceCIDR, 10)
	if err != nil {
		return nil, fmt.Errorf("service-cidr: %w", err)
	}
	c.dns = c.get("cluster-dns", ten)
	for _, value := range values["disable"] {
		for _, name := range strings.Split(value, ",") {
			if name = strings.TrimSpace(name); !components[name] {
				return nil, fmt.Errorf("disable: K3s has no component %q", name)
			}
			c.disabled[name] = true
		}
	}
	switch backend := c.get("flannel-backend", "vxlan"); backend {
	case "vxlan", "host-gw", "none": // on one node the two first differ in nothing that can be seen
	default:
		return nil, fmt.Errorf("flannel-backend: the stand-in supports vxlan, host-gw and none, not %q", backend)
	}
	return c, nil
}

// nth is the n-th address of a network.
func nth(cidr string, n byte) (string, error) {
	_, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return "", err
	}
	address := network.IP.To4()
	if address == nil {
		return "", fmt.Errorf("%s: the stand-in does IPv4 only", cidr)
	}
	return net.IPv4(address[0], address[1], address[2], address[3]+n).String(), nil
}

// firstAddress is the node's first global IPv4 address: what the default route would use, where there is one.
func firstAddress() (string, error) {
	if connection, err := net.Dial("udp4", "192.0.2.1:9"); err == nil { // sends nothing
		defer connection.Close()
		return connection.LocalAddr().(*net.UDPAddr).IP.String(), nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String(), nil
		}
	}
	return "", fmt.Errorf("no global IPv4 address on this machine; set node-ip")
}

// dataDirOf is the data folder for commands other than `server`, which take it from the same file.
func dataDirOf() string {
	values := map[string][]string{}
	if err := readConfig(configPath, values); err == nil && len(values["data-dir"]) > 0 {
		return values["data-dir"][0]
	}
	return defaultDataDir
}
