// SPDX-License-Identifier: Apache-2.0

// Package holder keeps file descriptors alive while the daemon is away: the
// queues of tunnel devices, so that they keep their carrier and packets wait,
// and the raw sockets. A tiny process of its own serves it on a unix socket and
// survives a SIGKILL of the daemon.
package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrAbsent says that the holder has no descriptor of the name.
var ErrAbsent = errors.New("holder: no such descriptor")

// answerTimeout bounds every request.
const answerTimeout = 5 * time.Second

// Client speaks to a holder. Its methods may be called together.
type Client struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// Dial connects to the holder on the socket.
func Dial(path string) (*Client, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	return &Client{conn: c}, nil
}

// Replace takes the connection of another client: one to the holder that came
// after ours had ended.
func (c *Client) Replace(by *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.Close()
	c.conn = by.conn
}

// Watch gives a channel that is closed when the holder on the socket ends, or the
// watch does, by stop.
func Watch(path string) (ended <-chan struct{}, stop func(), err error) {
	c, err := Dial(path)
	if err != nil {
		return nil, nil, err
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		_, _ = c.conn.Read(make([]byte, 1)) // nothing was asked: only the end comes
	}()
	return end, func() { _ = c.Close() }, nil
}

// ask sends a request and waits for its answer.
func (c *Client) ask(r request, f *os.File) (answer, *os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fail := func(err error) (answer, *os.File, error) {
		return answer{}, nil, fmt.Errorf("holder: %s %s: %w", r.Verb, r.Name, err)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return fail(err)
	}
	if err := send(c.conn, r, f); err != nil {
		return fail(err)
	}
	var a answer
	fd, err := receive(c.conn, &a)
	if err != nil {
		return fail(err)
	}
	var got *os.File
	if fd >= 0 {
		if got, err = toFile(fd, r.Name); err != nil {
			return fail(err)
		}
	}
	if a.Error != "" {
		if got != nil {
			_ = got.Close()
		}
		return fail(errors.New(a.Error))
	}
	return a, got, nil
}

// toFile makes the descriptor non-blocking, as a read that Close wakes must be;
// it was so before, unless someone else changed it.
func toFile(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Put hands over a duplicate of the file under the name; one of that name
// before is closed.
func (c *Client) Put(name string, f *os.File) error {
	_, _, err := c.ask(request{verbPut, name}, f)
	return err
}

// Get gives a duplicate of the descriptor, or ErrAbsent. It shares the open
// file, with its offset, flags and queue.
func (c *Client) Get(name string) (*os.File, error) {
	a, f, err := c.ask(request{verbGet, name}, nil)
	switch {
	case err != nil:
		return nil, err
	case a.Absent || f == nil:
		return nil, fmt.Errorf("%w: %s", ErrAbsent, name)
	}
	return f, nil
}

// Drop closes the holder's descriptor of the name; none is no error.
func (c *Client) Drop(name string) error {
	_, _, err := c.ask(request{verbDrop, name}, nil)
	return err
}

// List gives the names, sorted.
func (c *Client) List() ([]string, error) {
	a, _, err := c.ask(request{Verb: verbList}, nil)
	return a.Names, err
}

// Stop ends the holder, which closes everything, and the connection.
func (c *Client) Stop() error {
	_, _, err := c.ask(request{Verb: verbStop}, nil)
	return errors.Join(err, c.Close())
}

// Close ends the connection; the holder stays.
func (c *Client) Close() error { return c.conn.Close() }
