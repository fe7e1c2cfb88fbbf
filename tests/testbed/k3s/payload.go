package main

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// The payload (a tar.zst of bin/) is appended to the executable, and after it a trailer:
// 64 hex digits (sha256 of the payload), 8 bytes (its length, big endian), the magic.
const magic = "K3SPAYLOAD1\n"

type payload struct {
	reader *io.SectionReader
	digest string
	file   *os.File
}

func openPayload() (*payload, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	trailer := make([]byte, 64+8+len(magic))
	if _, err := file.ReadAt(trailer, info.Size()-int64(len(trailer))); err != nil {
		return nil, err
	}
	if string(trailer[72:]) != magic {
		return nil, errors.New("this executable carries no payload: it must be put together by the builder")
	}
	length := int64(binary.BigEndian.Uint64(trailer[64:72]))
	start := info.Size() - int64(len(trailer)) - length
	return &payload{io.NewSectionReader(file, start, length), string(trailer[:64]), file}, nil
}

// extract makes sure that the payload lies in <dataDir>/data/<digest> and `current` points there; returns its bin folder.
func extract(dataDir string) (string, error) {
	p, err := openPayload()
	if err != nil {
		return "", err
	}
	defer p.file.Close()
	data := filepath.Join(dataDir, "data")
	target := filepath.Join(data, p.digest)
	bin := filepath.Join(target, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(data, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(bin); err == nil { // another process was faster
		return bin, nil
	}
	temporary := target + "-tmp"
	if err := os.RemoveAll(temporary); err != nil {
		return "", err
	}
	if err := untar(p.reader, temporary); err != nil {
		return "", fmt.Errorf("extract to %s: %w", target, err)
	}
	if err := os.Rename(temporary, target); err != nil {
		return "", err
	}
	return bin, pointCurrent(data, p.digest)
}

// pointCurrent moves the links `current` and `previous`, and fills data/cni, as K3s does.
func pointCurrent(data, digest string) error {
	current := filepath.Join(data, "current")
	if old, err := os.Readlink(current); err == nil && old != digest {
		if err := relink(old, filepath.Join(data, "previous")); err != nil {
			return err
		}
	}
	if err := relink(digest, current); err != nil {
		return err
	}
	cni := filepath.Join(data, "cni")
	if err := os.MkdirAll(cni, 0o755); err != nil {
		return err
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap", "firewall"} {
		if err := relink(filepath.Join(current, "bin", plugin), filepath.Join(cni, plugin)); err != nil {
			return err
		}
	}
	return nil
}

func relink(target, link string) error {
	temporary := link + ".new"
	if err := os.Remove(temporary); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, link)
}

func untar(source io.Reader, folder string) error {
	decoder, err := zstd.NewReader(source)
	if err != nil {
		return err
	}
	defer decoder.Close()
	archive := tar.NewReader(decoder)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(folder, header.Name)
		if !strings.HasPrefix(path, folder+"/") {
			return fmt.Errorf("%s leads out of the folder", header.Name)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, path)
		case tar.TypeReg:
			err = writeStream(path, archive, os.FileMode(header.Mode))
		}
		if err != nil {
			return err
		}
	}
}

func writeStream(path string, source io.Reader, mode os.FileMode) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, source); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
