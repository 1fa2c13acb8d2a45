// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// adoptOr gives the adopted socket if there is one and it fits; one that does not is closed, and
// a new one opened.
func adoptOr(adopted *os.File, fits func(fd int) bool, open func() (*os.File, error)) (*os.File, syscall.RawConn, error) {
	if adopted != nil {
		if raw, err := adopted.SyscallConn(); err == nil {
			same := false
			if err = raw.Control(func(fd uintptr) { same = fits(int(fd)) }); err == nil && same {
				return adopted, raw, nil
			}
		}
		_ = adopted.Close()
	}
	f, err := open()
	if err != nil {
		return nil, nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, raw, nil
}

// rawSocket opens a raw socket of a protocol.
func (f *family) rawSocket(protocol int) (int, error) {
	fd, err := f.socket(unix.SOCK_RAW|unix.SOCK_NONBLOCK, protocol)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("the capability CAP_NET_RAW is missing: %w", err)
	}
	return fd, err
}

// prepared makes a file of a socket when all the steps have succeeded, and closes it otherwise.
func prepared(fd int, name string, steps ...func(fd int) error) (*os.File, error) {
	f := os.NewFile(uintptr(fd), name)
	for _, step := range steps {
		if err := step(fd); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return f, nil
}

// idle is what senders keep from call to call, as many as ever sent together.
type idle[T any] struct {
	mu   sync.Mutex
	free []*T
}

// take gives one that is free, nil where there is none.
func (i *idle[T]) take() *T {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.free)
	if n == 0 {
		return nil
	}
	o := i.free[n-1]
	i.free = i.free[:n-1]
	return o
}

func (i *idle[T]) give(o *T) {
	i.mu.Lock()
	i.free = append(i.free, o)
	i.mu.Unlock()
}
