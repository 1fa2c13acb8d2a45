// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// maxHeld bounds what a holder keeps.
const maxHeld = 8192 // a hundred tunnels with a queue for each of many CPUs

// store is what a holder keeps. A descriptor of a deleted device is kept too,
// until its owner drops it.
type store struct {
	mu   sync.Mutex
	held map[string]int
}

// Serve listens on the socket and keeps what it is given until a client asks it
// to stop. Only processes of the same user are served. Another holder that
// answers on the path is an error; a socket that nobody serves is replaced.
func Serve(path string) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	s := &store{held: map[string]int{}}
	var clients sync.WaitGroup
	var mu sync.Mutex
	open := map[*net.UnixConn]bool{}
	stop := sync.OnceFunc(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			_ = c.CloseRead()
		}
	})
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			stop()
			return fmt.Errorf("holder: accept on %s: %w", path, err)
		}
		mu.Lock()
		open[c] = true
		mu.Unlock()
		clients.Go(func() {
			s.serve(c, stop)
			mu.Lock()
			delete(open, c)
			mu.Unlock()
			_ = c.Close()
		})
	}
	clients.Wait()
	s.close()
	return remove(path)
}

// listen binds the socket under another name and moves it into place, so that
// who connects finds it served.
func listen(path string) (*net.UnixListener, error) {
	unlock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c, err := Dial(path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("holder: another holder serves %s", path)
	}
	beside := path + ".new"
	_ = os.Remove(beside)
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: beside, Net: "unixpacket"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("holder: listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(beside, path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("holder: listen on %s: %w", path, err)
	}
	return l, nil
}

// lockDirectory keeps two holders from replacing each other's socket.
func lockDirectory(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	if err := control(dir, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("holder: lock %s: %w", dir.Name(), err)
	}
	return func() { _ = dir.Close() }, nil
}

// remove removes the socket unless another holder serves it by now.
func remove(path string) error {
	unlock, err := lockDirectory(path)
	if err != nil {
		return err
	}
	defer unlock()
	if c, err := Dial(path); err == nil {
		return c.Close()
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("holder: %w", err)
	}
	return nil
}

// serve answers one client until it goes.
func (s *store) serve(c *net.UnixConn, stop func()) {
	if uid, err := peerUID(c); err != nil || int(uid) != os.Geteuid() {
		return
	}
	for {
		var r request
		fd, err := receive(c, &r)
		if err != nil {
			return
		}
		a, f := s.handle(r, fd)
		err = send(c, a, f)
		if f != nil {
			_ = f.Close()
		}
		if r.Verb == verbStop {
			stop()
		}
		if err != nil {
			return
		}
	}
}

// handle carries out a request; fd is its own.
func (s *store) handle(r request, fd int) (answer, *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, have := s.held[r.Name]
	switch {
	case r.Verb == verbPut && fd < 0:
		return answer{Error: "no descriptor came with " + r.Name}, nil
	case r.Verb == verbPut && !have && len(s.held) >= maxHeld:
		_ = unix.Close(fd)
		return answer{Error: fmt.Sprintf("it keeps %d descriptors and takes no more", maxHeld)}, nil
	case r.Verb == verbPut:
		s.held[r.Name] = fd
		if have {
			_ = unix.Close(old)
		}
		return answer{}, nil
	case fd >= 0:
		_ = unix.Close(fd)
		return answer{Error: "a descriptor came with " + string(r.Verb)}, nil
	}
	switch r.Verb {
	case verbGet:
		if !have {
			return answer{Absent: true}, nil
		}
		dup, err := unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return answer{Error: err.Error()}, nil
		}
		return answer{}, os.NewFile(uintptr(dup), r.Name)
	case verbDrop:
		if have {
			_ = unix.Close(old)
			delete(s.held, r.Name)
		}
	case verbList:
		return answer{Names: slices.Sorted(maps.Keys(s.held))}, nil
	case verbStop:
	default:
		return answer{Error: "unknown request " + string(r.Verb)}, nil
	}
	return answer{}, nil
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fd := range s.held {
		_ = unix.Close(fd)
	}
	clear(s.held)
}
