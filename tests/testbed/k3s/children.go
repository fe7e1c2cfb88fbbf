package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// supervisor runs the components. One that ends by itself ends the whole, with an error: systemd starts it anew, as
// with K3s, whose components are threads of one process.
type supervisor struct {
	spawn   chan spawning
	failed  chan error
	env     []string
	mutex   sync.Mutex
	running []*child
	ending  bool
}

type child struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

type spawning struct {
	cmd    *exec.Cmd
	result chan error
}

func newSupervisor(env []string) *supervisor {
	s := &supervisor{spawn: make(chan spawning), failed: make(chan error, 16), env: env}
	go func() {
		// The kernel ties a parent-death signal to the thread that forked: every child is started from this one,
		// which lives as long as the process.
		runtime.LockOSThread()
		for request := range s.spawn {
			request.result <- request.cmd.Start()
		}
	}()
	return s
}

func (s *supervisor) start(name, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Args[0] = name
	cmd.Env = s.env
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	request := spawning{cmd, make(chan error)}
	s.spawn <- request
	if err := <-request.result; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	one := &child{name, cmd, make(chan struct{})}
	s.mutex.Lock()
	s.running = append(s.running, one)
	s.mutex.Unlock()
	logf("started %s (%d)", name, cmd.Process.Pid)
	go s.watch(one)
	return nil
}

func (s *supervisor) watch(one *child) {
	err := one.cmd.Wait()
	close(one.ended)
	s.mutex.Lock()
	ending := s.ending
	s.mutex.Unlock()
	if !ending {
		s.failed <- fmt.Errorf("%s ended by itself: %v", one.name, err)
	}
}

// stop ends the children: first what talks to the store and to containerd, which has `patience` to do so (as threads of
// K3s they would have none), then containerd and the store. The shims, and so the pods, are not children and live on.
func (s *supervisor) stop(patience time.Duration) {
	s.mutex.Lock()
	s.ending = true
	running := s.running
	s.mutex.Unlock()
	const stores = 2 // the first two to be started
	if len(running) > stores {
		end(running[stores:], patience)
	}
	end(running[:min(stores, len(running))], patience)
}

func end(children []*child, patience time.Duration) {
	for _, one := range children {
		_ = one.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	}
	deadline := time.Now().Add(patience)
	for _, one := range children {
		select {
		case <-one.ended:
		case <-time.After(time.Until(deadline)):
			_ = one.cmd.Process.Kill()
			<-one.ended
		}
	}
}
