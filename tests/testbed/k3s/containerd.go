package main

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// registries is /etc/rancher/k3s/registries.yaml.
type registries struct {
	Mirrors map[string]struct {
		Endpoints []string          `yaml:"endpoint"`
		Rewrites  map[string]string `yaml:"rewrite"`
	} `yaml:"mirrors"`
	Configs map[string]struct {
		Auth *struct {
			Username      string `yaml:"username"`
			Password      string `yaml:"password"`
			Auth          string `yaml:"auth"`
			IdentityToken string `yaml:"identity_token"`
		} `yaml:"auth"`
		TLS *struct {
			CAFile             string `yaml:"ca_file"`
			CertFile           string `yaml:"cert_file"`
			KeyFile            string `yaml:"key_file"`
			InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
		} `yaml:"tls"`
	} `yaml:"configs"`
}

func readRegistries() (*registries, error) {
	r := &registries{}
	file, err := os.Open(registriesPath)
	if os.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(r); err != nil && err.Error() != "EOF" {
		return nil, fmt.Errorf("%s: %w", registriesPath, err)
	}
	for name, mirror := range r.Mirrors {
		if len(mirror.Rewrites) > 0 {
			return nil, fmt.Errorf("%s: mirrors: %s: the stand-in does not support rewrite", registriesPath, name)
		}
	}
	return r, nil
}

// server is where images of a registry come from when no mirror has them.
func server(name string) string {
	if name == "docker.io" {
		return "https://registry-1.docker.io/v2"
	}
	return "https://" + name + "/v2"
}

// hostsTOML is containerd's hosts.toml for one registry. Credentials ride along as a header, for the hosts that
// registries.yaml names in `configs`: containerd 2.4 itself no longer keeps registry passwords in its configuration.
func (r *registries) hostsTOML(name string) (string, error) {
	var out strings.Builder
	if name != "*" {
		fmt.Fprintf(&out, "server = %q\n", server(name))
	}
	out.WriteString("capabilities = [\"pull\", \"resolve\", \"push\"]\n")
	endpoints := r.Mirrors[name].Endpoints
	if r.configured(name) && name != "*" {
		endpoints = append(endpoints, server(name))
	}
	seen := map[string]bool{}
	for _, endpoint := range endpoints {
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		parsed, err := url.Parse(endpoint)
		if err != nil {
			return "", fmt.Errorf("%s: mirrors: %s: %w", registriesPath, name, err)
		}
		if parsed.Path == "" || parsed.Path == "/" {
			parsed.Path = "/v2"
		}
		if seen[parsed.String()] {
			continue
		}
		seen[parsed.String()] = true
		fmt.Fprintf(&out, "\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", parsed.String())
		if parsed.Path != "/v2" {
			out.WriteString("  override_path = true\n")
		}
		r.writeHost(&out, parsed)
	}
	return out.String(), nil
}

func (r *registries) configured(name string) bool { _, ok := r.Configs[name]; return ok }

func (r *registries) writeHost(out *strings.Builder, endpoint *url.URL) {
	host := endpoint.Host
	if host == "registry-1.docker.io" && !r.configured(host) {
		host = "docker.io"
	}
	settings, ok := r.Configs[host]
	if !ok {
		return
	}
	if tls := settings.TLS; tls != nil {
		if tls.InsecureSkipVerify {
			out.WriteString("  skip_verify = true\n")
		}
		if tls.CAFile != "" {
			fmt.Fprintf(out, "  ca = [%q]\n", tls.CAFile)
		}
		if tls.CertFile != "" {
			fmt.Fprintf(out, "  client = [[%q, %q]]\n", tls.CertFile, tls.KeyFile)
		}
	}
	if auth := settings.Auth; auth != nil {
		basic := auth.Auth
		if basic == "" {
			basic = base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password))
		}
		fmt.Fprintf(out, "  [host.%q.header]\n    authorization = [%q]\n", endpoint.String(), "Basic "+basic)
	}
}

func writeHosts(c *config) error {
	r, err := readRegistries()
	if err != nil {
		return err
	}
	folder := c.agent("etc", "containerd", "certs.d")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	names := map[string]bool{}
	for name := range r.Mirrors {
		names[name] = true
	}
	for name := range r.Configs {
		names[name] = true
	}
	ordered := make([]string, 0, len(names))
	for name := range names {
		ordered = append(ordered, name)
	}
	sort.Strings(ordered)
	for _, name := range ordered {
		content, err := r.hostsTOML(name)
		if err != nil {
			return err
		}
		place := name
		if name == "*" {
			place = "_default"
		}
		if err := writeFile(filepath.Join(folder, place, "hosts.toml"), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const containerdTemplate = `# Written by k3s at each start.
version = 3
root = %[1]q
state = "/run/k3s/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri"]

[grpc]
  address = %[2]q

[plugins.'io.containerd.cri.v1.runtime']
  enable_selinux = false
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  device_ownership_from_security_context = false
  # A machine in a machine may not lower the score; with CAP_SYS_RESOURCE this changes nothing.
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [%[3]q]
  conf_dir = %[4]q

[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = %[5]t
  BinaryName = %[6]q

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  disable_snapshot_annotations = true
  use_local_image_pull = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = %[7]q

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = %[8]q
`

func writeContainerdConfig(c *config, bin string) (string, error) {
	if err := overlaySupported(c.agent("containerd")); err != nil {
		return "", err
	}
	if err := writeHosts(c); err != nil {
		return "", err
	}
	content := fmt.Sprintf(containerdTemplate,
		c.agent("containerd"), containerdSocket, filepath.Join(c.dataDir, "data", "cni"), c.agent("etc", "cni", "net.d"),
		systemdCgroups(), filepath.Join(bin, "runc"), c.get("pause-image", pauseImage), c.agent("etc", "containerd", "certs.d"))
	path := c.agent("etc", "containerd", "config.toml")
	return path, writeFile(path, []byte(content), 0o600)
}

// overlaySupported mounts a small overlay where containerd's will lie, as K3s does: an overlay over an overlay fails,
// and would fail only with the first pod.
func overlaySupported(folder string) error {
	base := filepath.Join(folder, "overlay-check")
	defer os.RemoveAll(base)
	parts := map[string]string{}
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		parts[name] = filepath.Join(base, name)
		if err := os.MkdirAll(parts[name], 0o700); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", parts["lower"], parts["upper"], parts["work"])
	if err := syscall.Mount("overlay", parts["merged"], "overlay", 0, options); err != nil {
		return fmt.Errorf("\"overlayfs\" snapshotter cannot be enabled for %q: %w", folder, err)
	}
	return syscall.Unmount(parts["merged"], 0)
}

// systemdCgroups is K3s's rule: systemd's driver on cgroup v2, where systemd is at the helm.
func systemdCgroups() bool {
	_, unified := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return unified == nil && os.Getenv("INVOCATION_ID") != ""
}

// writeCNI is what flannel's conflist does on one node: every pod on the bridge cni0.
func writeCNI(c *config) error {
	path := c.agent("etc", "cni", "net.d", "10-flannel.conflist")
	if c.get("flannel-backend", "") == "none" {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	network, err := podNetwork(c)
	if err != nil {
		return err
	}
	content := fmt.Sprintf(`{
  "name": "cbr0",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true, "forceAddress": true,
      "ipMasq": false,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "dataDir": "/var/lib/cni/networks"}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, network)
	return writeFile(path, []byte(content), 0o600)
}

// podNetwork is the share that the controller manager gives to the only node: the first of the cluster's, a /24 unless
// its node-cidr-mask-size says otherwise.
func podNetwork(c *config) (string, error) {
	first, err := nth(c.clusterCIDR, 0)
	mask := "24"
	for _, argument := range c.values["kube-controller-manager-arg"] {
		key, value, _ := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		if key == "node-cidr-mask-size" || key == "node-cidr-mask-size-ipv4" {
			mask = value
		}
	}
	return first + "/" + mask, err
}
