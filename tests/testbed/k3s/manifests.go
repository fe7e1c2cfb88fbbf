package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

//go:embed manifests/*.yaml
var bundled embed.FS

const (
	manifestsEvery = 2 * time.Second // K3s looks every 15 s; tests should not wait for that
	pauseImage     = "rancher/mirrored-pause:3.6"
)

// Set by the builder (-ldflags -X) to what the images archive holds.
var (
	corednsImage = "rancher/mirrored-coredns-coredns:0"
	traefikImage = "rancher/mirrored-library-traefik:0"
)

// component is the key of `disable:` that a bundled manifest obeys, where it is not the file's own name.
var component = map[string]string{"rolebindings": "", "crds": ""}

// stageManifests writes the bundled manifests to server/manifests, but for those disabled or skipped, and returns the
// disabled ones' text, to be taken out of the cluster.
func stageManifests(c *config) (disabled []string, err error) {
	entries, err := bundled.ReadDir("manifests")
	if err != nil {
		return nil, err
	}
	replace := strings.NewReplacer(
		"%{CLUSTER_DNS}%", c.dns, "%{CLUSTER_DOMAIN}%", c.domain, "%{COREDNS_IMAGE}%", corednsImage,
		"%{TRAEFIK_IMAGE}%", traefikImage, "%{NODE_IP}%", c.nodeIP, "%{NODE_NAME}%", c.nodeName,
	)
	for _, entry := range entries {
		raw, err := bundled.ReadFile("manifests/" + entry.Name())
		if err != nil {
			return nil, err
		}
		content := replace.Replace(string(raw))
		path := c.server("manifests", entry.Name())
		name := strings.TrimSuffix(entry.Name(), ".yaml")
		if key, special := component[name]; special {
			name = key
		}
		if c.disabled[name] {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return nil, err
			}
			disabled = append(disabled, content)
			continue
		}
		if _, err := os.Stat(path + ".skip"); err == nil {
			continue
		}
		if err := writeFile(path, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return disabled, nil
}

// deployer applies server/manifests, and applies a file again when it changed.
type deployer struct {
	c          *config
	kubectl    string
	env        []string
	applied    map[string]string // path to digest of what was applied
	complained map[string]string
}

func (d *deployer) run(stop <-chan struct{}, disabled []string) {
	for _, content := range disabled {
		if err := d.do(content, "delete", "--ignore-not-found", "--wait=false", "-f", "-"); err != nil {
			logf("disable: %v", err)
		}
	}
	for {
		d.once()
		select {
		case <-stop:
			return
		case <-time.After(manifestsEvery):
		}
	}
}

func (d *deployer) once() {
	for _, path := range d.files() {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it went away between two looks
		}
		sum := sha256.Sum256(raw)
		digest := hex.EncodeToString(sum[:])
		if d.applied[path] == digest {
			continue
		}
		err = d.do(string(raw), "apply", "--server-side", "--force-conflicts", "--field-manager=deploy@"+d.c.nodeName, "-f", "-")
		if err != nil {
			if d.complained[path] != err.Error() { // it may become possible: a namespace or a CRD may come
				logf("apply %s: %v", path, err)
				d.complained[path] = err.Error()
			}
			continue
		}
		logf("applied %s", path)
		d.applied[path] = digest
		delete(d.complained, path)
	}
}

func (d *deployer) files() []string {
	var paths []string
	root := d.c.server("manifests")
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		extension := filepath.Ext(path)
		if entry.IsDir() || (extension != ".yaml" && extension != ".yml" && extension != ".json") {
			return nil
		}
		if _, err := os.Stat(path + ".skip"); err == nil {
			return nil
		}
		name := strings.TrimSuffix(filepath.Base(path), extension)
		if !d.c.disabled[name] {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		logf("%s: %v", root, err)
	}
	sort.Strings(paths)
	return paths
}

func (d *deployer) do(input string, args ...string) error {
	cmd := exec.Command(d.kubectl, append([]string{"--kubeconfig", d.c.server("cred", "supervisor.kubeconfig")}, args...)...)
	cmd.Env = d.env
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
