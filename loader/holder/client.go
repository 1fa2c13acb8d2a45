// SPDX-License-Identifier: Apache-2.0

// Package holder keeps file descriptors alive while the daemon is away: the
// queues of tunnel devices, so that they keep their carrier and packets wait,
// and the raw sockets. A tiny process of its own serves it on a unix socket and
// survives a SIGKILL of the daemon.
package holder

import (
	"errors"
	"os"
)

// ErrAbsent says that the holder has no descriptor of the name.
var ErrAbsent = errors.New("holder: no such descriptor")

// Client speaks to a holder. Its methods may be called together.
type Client struct{}

// Dial connects to the holder on the socket.
func Dial(path string) (*Client, error) { return nil, errors.New("holder: not built") }

// Start connects to the holder on the socket, and starts one first where none
// answers: argv, detached in a session of its own, which must call Serve with
// the same path. Its standard streams go to logFile, "" for nowhere.
func Start(path string, argv []string, logFile string) (*Client, error) {
	return nil, errors.New("holder: not built")
}

// Put hands over a duplicate of the file under the name; one of that name
// before is closed.
func (c *Client) Put(name string, f *os.File) error { return errors.New("holder: not built") }

// Get gives a duplicate of the descriptor, or ErrAbsent. It shares the open
// file, with its offset, flags and queue.
func (c *Client) Get(name string) (*os.File, error) { return nil, errors.New("holder: not built") }

// Drop closes the holder's descriptor of the name; none is no error.
func (c *Client) Drop(name string) error { return errors.New("holder: not built") }

// List gives the names, sorted.
func (c *Client) List() ([]string, error) { return nil, errors.New("holder: not built") }

// Stop ends the holder, which closes everything.
func (c *Client) Stop() error { return errors.New("holder: not built") }

// Close ends the connection; the holder stays.
func (c *Client) Close() error { return nil }
