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

// customKinds is applied before all else, and is no file of the operator's: K3s registers its kinds at its start.
const customKinds = "crds.yaml"

// stageManifests writes the bundled manifests to server/manifests, but for those disabled or skipped, and returns the
// disabled ones' text, to be taken out of the cluster.
func stageManifests(c *config) (disabled []string, err error) {
	entries, err := bundled.ReadDir("manifests")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".yaml")
		if entry.Name() == customKinds {
			continue
		}
		if c.disabled[name] {
			if err := os.Remove(c.server("manifests", entry.Name())); err != nil && !os.IsNotExist(err) {
				return nil, err
			}
			content, err := rendered(c, entry.Name(), &traefikValues{})
			if err != nil {
				return nil, err
			}
			disabled = append(disabled, content)
			continue
		}
		if name == "traefik" {
			if err := stageTraefik(c); err != nil {
				logf("traefik stays as it is: %v", err)
			}
			continue
		}
		if err := stage(c, entry.Name(), &traefikValues{}); err != nil {
			return nil, err
		}
	}
	return disabled, nil
}

// stageTraefik lays the operator's HelmChartConfig over Traefik's manifest, as K3s's helm-controller does over its chart.
func stageTraefik(c *config) error {
	values, err := readTraefik(manifestFiles(c))
	if err != nil {
		return err
	}
	return stage(c, "traefik.yaml", values)
}

func stage(c *config, name string, values *traefikValues) error {
	path := c.server("manifests", name)
	if _, err := os.Stat(path + ".skip"); err == nil {
		return nil
	}
	content, err := rendered(c, name, values)
	if err != nil {
		return err
	}
	if before, err := os.ReadFile(path); err == nil && string(before) == content {
		return nil
	}
	return writeFile(path, []byte(content), 0o600)
}

func rendered(c *config, name string, values *traefikValues) (string, error) {
	raw, err := bundled.ReadFile("manifests/" + name)
	if err != nil {
		return "", err
	}
	pairs, err := values.replacements()
	if err != nil {
		return "", err
	}
	pairs = append(pairs,
		"%{CLUSTER_DNS}%", c.dns, "%{CLUSTER_DOMAIN}%", c.domain, "%{COREDNS_IMAGE}%", corednsImage,
		"%{TRAEFIK_IMAGE}%", traefikImage, "%{NODE_IP}%", c.nodeIP, "%{NODE_NAME}%", c.nodeName,
	)
	return strings.NewReplacer(pairs...).Replace(string(raw)), nil
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
	if kinds, err := bundled.ReadFile("manifests/" + customKinds); err != nil {
		logf("%s: %v", customKinds, err)
	} else if err := d.do(string(kinds), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		logf("%s: %v", customKinds, err)
	}
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
	if !d.c.disabled["traefik"] {
		if err := stageTraefik(d.c); err != nil {
			if d.complained["traefik"] != err.Error() {
				logf("traefik stays as it is: %v", err)
				d.complained["traefik"] = err.Error()
			}
		} else {
			delete(d.complained, "traefik")
		}
	}
	for _, path := range manifestFiles(d.c) {
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

// manifestFiles are those of server/manifests that are neither skipped nor disabled, in order.
func manifestFiles(c *config) []string {
	var paths []string
	root := c.server("manifests")
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
		if !c.disabled[name] {
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
