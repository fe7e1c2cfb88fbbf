package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	caLife     = 10 * 365 * 24 * time.Hour
	leafLife   = 365 * 24 * time.Hour
	renewBelow = 120 * 24 * time.Hour // K3s renews at a start what has less than this left
)

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// leaf is one certificate that the cluster needs; an empty hosts list makes it a client's.
type leaf struct {
	path, ca, name, organisation string
	hosts                        []string
}

// certificates are named and placed as K3s does.
func certificates(c *config) []leaf {
	tls := func(name string) string { return c.server("tls", name) }
	first, _ := nth(c.serviceCIDR, 1) // checked when the configuration was read
	hosts := []string{
		"127.0.0.1", "::1", "localhost", c.nodeIP, c.nodeName, first, "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc." + c.domain,
	}
	if c.externalIP != "" {
		hosts = append(hosts, c.externalIP)
	}
	for _, value := range c.values["tls-san"] {
		hosts = append(hosts, strings.Split(value, ",")...)
	}
	return []leaf{
		{tls("client-admin"), "client-ca", "system:admin", "system:masters", nil},
		{tls("client-supervisor"), "client-ca", "system:k3s-supervisor", "system:masters", nil},
		{tls("client-controller"), "client-ca", "system:kube-controller-manager", "", nil},
		{tls("client-scheduler"), "client-ca", "system:kube-scheduler", "", nil},
		{tls("client-kube-apiserver"), "client-ca", "system:apiserver", "system:masters", nil},
		{tls("client-auth-proxy"), "request-header-ca", "system:auth-proxy", "", nil},
		{tls("serving-kube-apiserver"), "server-ca", "kube-apiserver", "", hosts},
		{c.agent("client-kubelet"), "client-ca", "system:node:" + c.nodeName, "system:nodes", nil},
		{c.agent("client-kube-proxy"), "client-ca", "system:kube-proxy", "", nil},
		{c.agent("client-k3s-controller"), "client-ca", "system:k3s-controller", "", nil},
		{c.agent("serving-kubelet"), "server-ca", c.nodeName, "", []string{c.nodeName, "localhost", "127.0.0.1", c.nodeIP}},
	}
}

// makeCertificates makes what is missing, what soon expires, and serving certificates whose names changed.
func makeCertificates(c *config) error {
	authorities := map[string]*authority{}
	for _, name := range []string{"server-ca", "client-ca", "request-header-ca"} {
		ca, err := ensureAuthority(c.server("tls", name), "k3s-"+name)
		if err != nil {
			return err
		}
		authorities[name] = ca
	}
	for _, wanted := range certificates(c) {
		if fresh(wanted, authorities[wanted.ca]) {
			continue
		}
		if err := issue(wanted, authorities[wanted.ca]); err != nil {
			return err
		}
	}
	for _, name := range []string{"server-ca", "client-ca"} { // the agent keeps its own copies
		if err := writeFile(c.agent(name+".crt"), authorities[name].pem, 0o600); err != nil {
			return err
		}
	}
	return ensureServiceKey(c.server("tls", "service.key"))
}

func ensureAuthority(path, name string) (*authority, error) {
	if ca, err := loadAuthority(path); err == nil {
		return ca, nil
	} else if !os.IsNotExist(err) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: pkix.Name{CommonName: fmt.Sprintf("%s@%d", name, now.Unix())},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := writePair(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key); err != nil {
		return nil, err
	}
	return loadAuthority(path)
}

func loadAuthority(path string) (*authority, error) {
	raw, err := os.ReadFile(path + ".crt")
	if err != nil {
		return nil, err
	}
	certificate, err := parseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("%s.crt: %w", path, err)
	}
	rawKey, err := os.ReadFile(path + ".key")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(rawKey)
	if block == nil {
		return nil, fmt.Errorf("%s.key: not PEM", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return &authority{certificate, key, raw}, err
}

func parseCertificate(raw []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func fresh(wanted leaf, ca *authority) bool {
	raw, err := os.ReadFile(wanted.path + ".crt")
	if err != nil {
		return false
	}
	have, err := parseCertificate(raw)
	if err != nil || time.Until(have.NotAfter) < renewBelow || have.CheckSignatureFrom(ca.certificate) != nil {
		return false
	}
	if have.Subject.CommonName != wanted.name {
		return false
	}
	addresses, names := split(wanted.hosts)
	return slices.Equal(have.DNSNames, names) && slices.EqualFunc(have.IPAddresses, addresses, net.IP.Equal)
}

func split(hosts []string) (addresses []net.IP, names []string) {
	seen := map[string]bool{}
	for _, host := range hosts {
		if host = strings.TrimSpace(host); host == "" || seen[host] {
			continue
		}
		seen[host] = true
		if address := net.ParseIP(host); address != nil {
			addresses = append(addresses, address)
		} else {
			names = append(names, host)
		}
	}
	return addresses, names
}

func issue(wanted leaf, ca *authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: wanted.name},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if wanted.organisation != "" {
		template.Subject.Organization = []string{wanted.organisation}
	}
	if len(wanted.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.IPAddresses, template.DNSNames = split(wanted.hosts)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return err
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), ca.pem...)
	return writePair(wanted.path, chain, key)
}

func writePair(path string, certificate []byte, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return writeFile(path+".crt", certificate, 0o600)
}

func ensureServiceKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return writeFile(path, pem.EncodeToMemory(block), 0o600)
}

// writeFile replaces a file in one step, so that a kill leaves the old one or the new one.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return err
	}
	if err := os.Chmod(temporary, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// writeKubeconfigs makes the components' kubeconfigs (certificates by path) and the operator's (everything inside).
func writeKubeconfigs(c *config) error {
	port := c.get("https-listen-port", "6443")
	url := "https://127.0.0.1:" + port
	for path, client := range map[string]string{
		c.server("cred", "controller.kubeconfig"): c.server("tls", "client-controller"),
		c.server("cred", "scheduler.kubeconfig"):  c.server("tls", "client-scheduler"),
		c.server("cred", "supervisor.kubeconfig"): c.server("tls", "client-supervisor"),
		c.agent("kubelet.kubeconfig"):             c.agent("client-kubelet"),
		c.agent("kubeproxy.kubeconfig"):           c.agent("client-kube-proxy"),
		c.agent("k3scontroller.kubeconfig"):       c.agent("client-k3s-controller"),
	} {
		content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "%s", certificate-authority: %s}}]
contexts: [{name: Default, context: {cluster: local, user: user}}]
current-context: Default
users: [{name: user, user: {client-certificate: %s.crt, client-key: %s.key}}]
`, url, c.server("tls", "server-ca.crt"), client, client)
		if err := writeFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return writeAdminKubeconfig(c, url)
}

func writeAdminKubeconfig(c *config, url string) error {
	var parts [3]string
	paths := []string{c.server("tls", "server-ca.crt"), c.server("tls", "client-admin.crt"), c.server("tls", "client-admin.key")}
	for i, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parts[i] = base64.StdEncoding.EncodeToString(raw)
	}
	content := fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`, parts[0], url, parts[1], parts[2])
	var mode os.FileMode
	if _, err := fmt.Sscanf(c.get("write-kubeconfig-mode", "0600"), "%o", &mode); err != nil {
		return fmt.Errorf("write-kubeconfig-mode: %w", err)
	}
	return writeFile(kubeconfigPath, []byte(content), mode)
}

// writeToken keeps K3s's secure token: K10<sha256 of the CA>::server:<password>.
func writeToken(c *config) error {
	path := c.server("token")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	password := c.get("token", "")
	if password == "" {
		random := make([]byte, 16)
		if _, err := rand.Read(random); err != nil {
			return err
		}
		password = hex.EncodeToString(random)
	}
	ca, err := os.ReadFile(c.server("tls", "server-ca.crt"))
	if err != nil {
		return err
	}
	token := fmt.Sprintf("K10%x::server:%s\n", sha256.Sum256(ca), password)
	if err := writeFile(path, []byte(token), 0o600); err != nil {
		return err
	}
	return relink(path, c.server("node-token"))
}

func printToken() error {
	raw, err := os.ReadFile(filepath.Join(dataDirOf(), "server", "token"))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(raw)
	return err
}

// certificateCommand is `k3s certificate check|rotate`.
func certificateCommand(args []string) error {
	c, err := loadConfig(nil)
	if err != nil {
		return err
	}
	if len(args) != 1 || (args[0] != "check" && args[0] != "rotate") {
		return fmt.Errorf("usage: k3s certificate check|rotate")
	}
	for _, one := range certificates(c) {
		path := one.path + ".crt"
		if args[0] == "rotate" {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		certificate, err := parseCertificate(raw)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s is ok, will expire at %s\n", path, certificate.Subject, certificate.NotAfter.Format(time.RFC3339))
	}
	if args[0] == "rotate" {
		fmt.Println("restart k3s to make the new certificates")
	}
	return nil
}
