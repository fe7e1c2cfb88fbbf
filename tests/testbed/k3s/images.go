package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// imported is what is remembered of one file in agent/images, so that it is read again only when it changed.
type imported struct {
	Size     int64    `json:"size"`
	Modified int64    `json:"modified"`
	Names    []string `json:"names"`
}

// importImages loads agent/images into containerd before the kubelet starts: archives are imported and pinned, a .txt
// file names images to pull, one a line.
func importImages(c *config, bin string, env []string) error {
	folder := c.agent("images")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	statePath := c.agent("images-imported.json")
	state := map[string]imported{}
	if raw, err := os.ReadFile(statePath); err == nil {
		if err := json.Unmarshal(raw, &state); err != nil {
			logf("%s: %v; importing all images anew", statePath, err)
			state = map[string]imported{}
		}
	}
	have, err := imageNames(bin, env)
	if err != nil {
		return err
	}
	next := map[string]imported{}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		info, err := os.Stat(path) // follows links: the file may lie elsewhere
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		record := state[entry.Name()]
		same := record.Size == info.Size() && record.Modified == info.ModTime().UnixNano()
		if same && len(record.Names) > 0 && all(record.Names, have) {
			next[entry.Name()] = record
			continue
		}
		names, err := importFile(path, bin, env)
		if err != nil { // K3s logs it and goes on
			logf("import of %s failed: %v", path, err)
			continue
		}
		logf("imported %d images from %s", len(names), path)
		next[entry.Name()] = imported{info.Size(), info.ModTime().UnixNano(), names}
	}
	raw, err := json.Marshal(next)
	if err != nil {
		return err
	}
	return writeFile(statePath, raw, 0o600)
}

func all(names []string, have map[string]bool) bool {
	for _, name := range names {
		if !have[name] {
			return false
		}
	}
	return true
}

func ctr(bin string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "ctr"), append([]string{"-a", containerdSocket, "-n", "k8s.io"}, args...)...)
	cmd.Env = env
	return cmd
}

func imageNames(bin string, env []string) (map[string]bool, error) {
	out, err := ctr(bin, env, "images", "list", "-q").Output()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", failure(err))
	}
	names := map[string]bool{}
	for _, name := range strings.Fields(string(out)) {
		names[name] = true
	}
	return names, nil
}

// failure adds what a child said on its standard error.
func failure(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

func importFile(path, bin string, env []string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if strings.HasSuffix(path, ".txt") {
		return pullList(file, bin, env)
	}
	stream, closer, err := decompress(file, path)
	if err != nil {
		return nil, err
	}
	defer closer()
	// containerd reads the archive from a pipe, while its index is read on the way past.
	reader, writer := io.Pipe()
	cmd := ctr(bin, env, "images", "import", "--all-platforms", "--digests=false", "-")
	cmd.Stdin = reader
	done := make(chan error, 1)
	go func() {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("ctr images import: %w: %s", err, strings.TrimSpace(string(out)))
		}
		reader.CloseWithError(err)
		done <- err
	}()
	names, err := archiveNames(io.TeeReader(stream, writer))
	if err == nil {
		_, err = io.Copy(writer, stream) // the padding after the archive's end
	}
	writer.CloseWithError(err)
	if failed := <-done; failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		labels := []string{"images", "label", name, "io.cri-containerd.image=managed", "io.cri-containerd.pinned=pinned"}
		if _, err := ctr(bin, env, labels...).Output(); err != nil {
			return nil, fmt.Errorf("pin %s: %w", name, failure(err))
		}
	}
	return names, nil
}

func pullList(file io.Reader, bin string, env []string) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		cmd := exec.Command(filepath.Join(bin, "crictl"), "pull", name)
		cmd.Env = append(env, "CONTAINER_RUNTIME_ENDPOINT=unix://"+containerdSocket)
		if _, err := cmd.Output(); err != nil {
			return nil, fmt.Errorf("pull %s: %w", name, failure(err))
		}
		names = append(names, canonical(name))
	}
	return names, lines.Err()
}

func decompress(file io.Reader, path string) (io.Reader, func(), error) {
	switch {
	case strings.HasSuffix(path, ".tar"):
		return file, func() {}, nil
	case strings.HasSuffix(path, ".tar.gz"), strings.HasSuffix(path, ".tgz"):
		reader, err := gzip.NewReader(file)
		return reader, func() {}, err
	case strings.HasSuffix(path, ".tar.zst"), strings.HasSuffix(path, ".tzst"):
		reader, err := zstd.NewReader(file)
		if err != nil {
			return nil, nil, err
		}
		return reader, reader.Close, nil
	}
	return nil, nil, fmt.Errorf("not an archive that K3s reads (.tar, .tar.gz, .tgz, .tar.zst, .tzst, .txt)")
}

// archiveNames reads the image names out of an archive: `manifest.json` (docker) or `index.json` (OCI).
func archiveNames(stream io.Reader) ([]string, error) {
	found := map[string]bool{}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch filepath.Clean(header.Name) {
		case "manifest.json":
			var manifest []struct{ RepoTags []string }
			if err := json.NewDecoder(archive).Decode(&manifest); err != nil {
				return nil, err
			}
			for _, image := range manifest {
				for _, tag := range image.RepoTags {
					found[canonical(tag)] = true
				}
			}
		case "index.json":
			var index struct {
				Manifests []struct{ Annotations map[string]string }
			}
			if err := json.NewDecoder(archive).Decode(&index); err != nil {
				return nil, err
			}
			for _, manifest := range index.Manifests {
				if name := manifest.Annotations["io.containerd.image.name"]; name != "" {
					found[name] = true
				}
			}
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

// canonical is containerd's full form of an image's name.
func canonical(name string) string {
	first, rest, slash := strings.Cut(name, "/")
	if !slash {
		name, first = "docker.io/library/"+name, "docker.io"
	} else if !strings.ContainsAny(first, ".:") && first != "localhost" {
		name = "docker.io/" + first + "/" + rest
	}
	if last := name[strings.LastIndex(name, "/"):]; !strings.ContainsAny(last, ":@") {
		name += ":latest"
	}
	return name
}
