package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeKubeletConfig writes K3s's own defaults as the first drop-in; the operator's, in the same folder, come after it.
func writeKubeletConfig(c *config) error {
	driver := "cgroupfs"
	if systemdCgroups() {
		driver = "systemd"
	}
	resolv, err := resolvConf(c)
	if err != nil {
		return err
	}
	content := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true, cacheTTL: 2m0s}
  x509: {clientCAFile: %s}
authorization: {mode: Webhook}
cgroupDriver: %s
clusterDNS: [%s]
clusterDomain: %s
containerRuntimeEndpoint: unix://%s
evictionHard: {imagefs.available: 5%%, nodefs.available: 5%%}
evictionMinimumReclaim: {imagefs.available: 10%%, nodefs.available: 10%%}
failCgroupV1: false
failSwapOn: false
healthzBindAddress: 127.0.0.1
nodeStatusUpdateFrequency: 10s
protectKernelDefaults: %t
readOnlyPort: 0
resolvConf: %s
serializeImagePulls: false
staticPodPath: %s
tlsCertFile: %s
tlsPrivateKeyFile: %s
`, c.agent("client-ca.crt"), driver, c.dns, c.domain, containerdSocket, c.on("protect-kernel-defaults"), resolv,
		c.agent("pod-manifests"), c.agent("serving-kubelet.crt"), c.agent("serving-kubelet.key"))
	if err := os.MkdirAll(c.agent("pod-manifests"), 0o755); err != nil {
		return err
	}
	return writeFile(c.agent("etc", "kubelet.conf.d", "00-k3s-defaults.conf"), []byte(content), 0o600)
}

// resolvConf is K3s's choice: the first file that names a server which pods can reach too.
func resolvConf(c *config) (string, error) {
	if path := c.get("resolv-conf", ""); path != "" {
		return path, nil
	}
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(raw), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 1 && fields[0] == "nameserver" && !strings.HasPrefix(fields[1], "127.") && fields[1] != "::1" {
				return path, nil
			}
		}
	}
	path := c.agent("etc", "resolv.conf")
	return path, writeFile(path, []byte("nameserver 8.8.8.8\n"), 0o644)
}

func kubeletArgs(c *config) []string {
	args := []string{
		"--config-dir=" + c.agent("etc", "kubelet.conf.d"),
		"--kubeconfig=" + c.agent("kubelet.kubeconfig"),
		"--hostname-override=" + c.nodeName,
		"--node-ip=" + c.nodeIP,
		"--root-dir=/var/lib/kubelet",
		"--cert-dir=" + filepath.Join(c.dataDir, "agent", "pki"),
		"--node-labels=" + strings.Join(append([]string{"node.kubernetes.io/instance-type=k3s"}, c.values["node-label"]...), ","),
	}
	if taints := c.values["node-taint"]; len(taints) > 0 {
		args = append(args, "--register-with-taints="+strings.Join(taints, ","))
	}
	return args
}
