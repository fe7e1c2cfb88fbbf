package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startDeadline = 120 * time.Second
	stopPatience  = 2 * time.Second
)

// serve is `k3s server`: everything up, READY told to systemd, and then supervision until a signal or a failure.
func serve(c *config) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET") // it is not for the children
	began := time.Now()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	bin, err := extract(c.dataDir)
	if err != nil {
		return err
	}
	env := append(os.Environ(), "KUBECONFIG=")
	for i, assignment := range env {
		if strings.HasPrefix(assignment, "PATH=") { // the bundled tools come after the system's, as in K3s
			env[i] = "PATH=" + bin + ":" + strings.TrimPrefix(assignment, "PATH=") + ":" + filepath.Join(bin, "aux")
			os.Setenv("PATH", strings.TrimPrefix(env[i], "PATH="))
		}
	}
	s := newSupervisor(env)
	n := &node{c: c, s: s, bin: bin, env: env}
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	started := make(chan error, 1)
	stopDeploy := make(chan struct{})
	go func() { started <- n.start(ctx, stopDeploy) }()
	for {
		select {
		case err := <-started:
			if err != nil {
				s.stop(stopPatience)
				return err
			}
			logf("k3s is up and running (%.1f s)", time.Since(began).Seconds())
			notify(socket, "READY=1")
		case err := <-s.failed:
			close(stopDeploy)
			s.stop(stopPatience)
			return err
		case got := <-signals:
			logf("%s: stopping", got)
			notify(socket, "STOPPING=1")
			close(stopDeploy)
			s.stop(stopPatience)
			return nil
		}
	}
}

type node struct {
	c   *config
	s   *supervisor
	bin string
	env []string
}

func (n *node) path(name string) string { return filepath.Join(n.bin, name) }

func (n *node) start(ctx context.Context, stopDeploy <-chan struct{}) error {
	if err := n.prepare(); err != nil {
		return err
	}
	if err := n.startStores(ctx); err != nil {
		return err
	}
	images := make(chan error, 1)
	go func() { images <- importImages(n.c, n.bin, n.env) }()
	if err := n.startControlPlane(ctx); err != nil {
		return err
	}
	disabled, err := stageManifests(n.c)
	if err != nil {
		return err
	}
	deploy := &deployer{n.c, n.path("kubectl"), n.env, map[string]string{}, map[string]string{}}
	go deploy.run(stopDeploy, disabled)
	if err := <-images; err != nil {
		return err
	}
	return n.startAgent(ctx)
}

// prepare writes every file and sets what K3s sets in the kernel.
func (n *node) prepare() error {
	c := n.c
	for _, folder := range []string{"/run/k3s/containerd", "/etc/rancher/node", "/var/lib/kubelet", c.server("db"), c.server("tls"), c.server("cred"), c.server("manifests")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	for _, do := range []func(*config) error{makeCertificates, writeKubeconfigs, writeToken, writeKubeletConfig, writeCNI} {
		if err := do(c); err != nil {
			return err
		}
	}
	crictl := fmt.Sprintf("runtime-endpoint: unix://%[1]s\nimage-endpoint: unix://%[1]s\n", containerdSocket)
	if err := writeFile(c.agent("etc", "crictl.yaml"), []byte(crictl), 0o600); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1", "net/ipv4/conf/all/forwarding": "1",
	} {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
			logf("sysctl %s: %v", key, err) // K3s warns too
		}
	}
	return n.masquerade()
}

// masquerade is flannel's part besides the bridge: pods reach the world by the node's address, and may be forwarded.
func (n *node) masquerade() error {
	if n.c.get("flannel-backend", "") == "none" {
		return nil
	}
	cidr := n.c.clusterCIDR
	rules := fmt.Sprintf(`*nat
:FLANNEL-POSTRTG - [0:0]
-A FLANNEL-POSTRTG -s %[1]s -d %[1]s -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s %[1]s ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s %[1]s -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d %[1]s -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`, cidr)
	restore := exec.Command("iptables-restore", "--noflush", "--wait", "10")
	restore.Env, restore.Stdin = n.env, strings.NewReader(rules)
	if out, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s", err, out)
	}
	for _, jump := range [][]string{{"nat", "POSTROUTING", "FLANNEL-POSTRTG"}, {"filter", "FORWARD", "FLANNEL-FWD"}} {
		rule := []string{jump[1], "-m", "comment", "--comment", "flanneld", "-j", jump[2]}
		check := exec.Command("iptables", append([]string{"-w", "10", "-t", jump[0], "-C"}, rule...)...)
		check.Env = n.env
		if check.Run() == nil {
			continue
		}
		add := exec.Command("iptables", append([]string{"-w", "10", "-t", jump[0], "-A"}, rule...)...)
		add.Env = n.env
		if out, err := add.CombinedOutput(); err != nil {
			return fmt.Errorf("iptables: %w: %s", err, out)
		}
	}
	return nil
}

func (n *node) startStores(ctx context.Context) error {
	kineSocket := n.c.server("kine.sock")
	if err := os.Remove(kineSocket); err != nil && !os.IsNotExist(err) {
		return err
	}
	// Without the three pragmas SQLite answers SQLITE_BUSY under a node's load.
	database := "sqlite://" + n.c.server("db", "state.db") +
		"?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	err := n.s.start("kine", n.path("kine"), "--listen-address=unix://"+kineSocket, "--endpoint="+database, "--metrics-bind-address=0")
	if err != nil {
		return err
	}
	config, err := writeContainerdConfig(n.c, n.bin)
	if err != nil {
		return err
	}
	if err := n.s.start("containerd", n.path("containerd"), "-c", config); err != nil {
		return err
	}
	if err := dialable(ctx, "kine", kineSocket); err != nil {
		return err
	}
	return dialable(ctx, "containerd", containerdSocket)
}

func dialable(ctx context.Context, what, socket string) error {
	return until(ctx, what+" to listen at "+socket, 20*time.Millisecond, func() error {
		connection, err := net.Dial("unix", socket)
		if err == nil {
			connection.Close()
		}
		return err
	})
}

func until(ctx context.Context, what string, every time.Duration, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", startDeadline, what, err)
		case <-time.After(every):
		}
	}
}

func (n *node) startControlPlane(ctx context.Context) error {
	args, err := apiserverArgs(n.c)
	if err != nil {
		return err
	}
	if err := n.component("kube-apiserver", args); err != nil {
		return err
	}
	if err := until(ctx, "the API server to be ready", 100*time.Millisecond, apiReady(n.c)); err != nil {
		return err
	}
	if err := n.component("kube-controller-manager", controllerArgs(n.c)); err != nil {
		return err
	}
	kubeconfig := n.c.server("cred", "scheduler.kubeconfig")
	return n.component("kube-scheduler", []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
	})
}

func (n *node) startAgent(ctx context.Context) error {
	if err := n.component("kubelet", kubeletArgs(n.c)); err != nil {
		return err
	}
	if !n.c.on("disable-kube-proxy") {
		err := n.component("kube-proxy", []string{
			"--kubeconfig=" + n.c.agent("kubeproxy.kubeconfig"), "--hostname-override=" + n.c.nodeName,
			"--cluster-cidr=" + n.c.clusterCIDR, "--proxy-mode=iptables", "--healthz-bind-address=127.0.0.1",
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-close-wait=0s", "--conntrack-tcp-timeout-established=0s",
		})
		if err != nil {
			return err
		}
	}
	kubeconfig := n.c.server("cred", "supervisor.kubeconfig")
	err := until(ctx, "the node to be registered", 100*time.Millisecond, func() error {
		return n.kubectl("label", "node", n.c.nodeName, "--overwrite", "node-role.kubernetes.io/control-plane=true", "egress.k3s.io/cluster=true")
	})
	if err != nil {
		return err
	}
	if n.c.on("disable-network-policy") {
		return nil
	}
	return n.s.start("kube-router", n.path("kube-router"),
		"--kubeconfig="+kubeconfig, "--hostname-override="+n.c.nodeName, "--run-firewall=true", "--run-router=false",
		"--run-service-proxy=false", "--run-loadbalancer=false", "--enable-cni=false", "--health-port=0", "--metrics-port=0",
		"--service-cluster-ip-range="+n.c.serviceCIDR, "--service-node-port-range="+strings.Replace(n.c.get("service-node-port-range", "30000-32767"), "-", ":", 1),
		"--iptables-sync-period=1h")
}

func (n *node) kubectl(args ...string) error {
	cmd := exec.Command(n.path("kubectl"), append([]string{"--kubeconfig", n.c.server("cred", "supervisor.kubeconfig")}, args...)...)
	cmd.Env = n.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// component starts one of Kubernetes's programs with the operator's `NAME-arg` after (so over) our own.
func (n *node) component(name string, args []string) error {
	for _, extra := range n.c.values[name+"-arg"] {
		args = append(args, "--"+strings.TrimLeft(extra, "-"))
	}
	return n.s.start(name, n.path(name), args...)
}

func apiserverArgs(c *config) ([]string, error) {
	tls := func(name string) string { return c.server("tls", name) }
	args := []string{
		"--advertise-address=" + c.nodeIP, "--secure-port=" + c.get("https-listen-port", "6443"),
		"--bind-address=" + c.get("bind-address", "0.0.0.0"), "--allow-privileged=true", "--anonymous-auth=false",
		"--api-audiences=https://kubernetes.default.svc." + c.domain + ",k3s", "--authorization-mode=Node,RBAC",
		"--cert-dir=" + c.server("tls", "temporary-certs"), "--client-ca-file=" + tls("client-ca.crt"),
		"--enable-admission-plugins=NodeRestriction", "--enable-aggregator-routing=true",
		"--etcd-servers=unix://" + c.server("kine.sock"), "--storage-backend=etcd3", "--profiling=false",
		"--kubelet-certificate-authority=" + tls("server-ca.crt"),
		"--kubelet-client-certificate=" + tls("client-kube-apiserver.crt"),
		"--kubelet-client-key=" + tls("client-kube-apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		"--proxy-client-cert-file=" + tls("client-auth-proxy.crt"), "--proxy-client-key-file=" + tls("client-auth-proxy.key"),
		"--requestheader-allowed-names=system:auth-proxy", "--requestheader-client-ca-file=" + tls("request-header-ca.crt"),
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--service-account-issuer=https://kubernetes.default.svc." + c.domain,
		"--service-account-key-file=" + tls("service.key"), "--service-account-signing-key-file=" + tls("service.key"),
		"--service-cluster-ip-range=" + c.serviceCIDR,
		"--service-node-port-range=" + c.get("service-node-port-range", "30000-32767"),
		"--tls-cert-file=" + tls("serving-kube-apiserver.crt"), "--tls-private-key-file=" + tls("serving-kube-apiserver.key"),
	}
	if !c.on("secrets-encryption") {
		return args, nil
	}
	path := c.server("cred", "encryption-config.json")
	if err := ensureEncryption(path); err != nil {
		return nil, err
	}
	return append(args, "--encryption-provider-config="+path), nil
}

func ensureEncryption(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	content := fmt.Sprintf(`{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"aescbckey","secret":%q}]}},{"identity":{}}]}]}`,
		base64.StdEncoding.EncodeToString(key))
	return writeFile(path, []byte(content), 0o600)
}

func controllerArgs(c *config) []string {
	kubeconfig := c.server("cred", "controller.kubeconfig")
	args := []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--allocate-node-cidrs=true", "--bind-address=127.0.0.1", "--cluster-cidr=" + c.clusterCIDR,
		"--controllers=*,tokencleaner", "--leader-elect=false", "--profiling=false", "--use-service-account-credentials=true",
		"--root-ca-file=" + c.server("tls", "server-ca.crt"), "--service-cluster-ip-range=" + c.serviceCIDR,
		"--service-account-private-key-file=" + c.server("tls", "service.key"),
	}
	for signer, ca := range map[string]string{
		"kube-apiserver-client": "client-ca", "kubelet-client": "client-ca", "kubelet-serving": "server-ca", "legacy-unknown": "server-ca",
	} {
		args = append(args, "--cluster-signing-"+signer+"-cert-file="+c.server("tls", ca+".crt"),
			"--cluster-signing-"+signer+"-key-file="+c.server("tls", ca+".key"))
	}
	return args
}
