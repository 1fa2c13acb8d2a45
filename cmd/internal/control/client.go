// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// ErrAway says that no daemon listens at the socket.
var ErrAway = errors.New("dmvpnd is not running")

// A Client asks a daemon. It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the daemon that listens at the socket. It
// connects with the first request.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns: 1,
	}}}
}

// Close gives the idle connection back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status and the others each make one request of the same name.
func (c *Client) Status(ctx context.Context) (Status, error) { return ask[Status](ctx, c, "status") }

// Peers asks for /v1/peers.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) { return ask[[]Peer](ctx, c, "peers") }

// NHRP asks for /v1/nhrp.
func (c *Client) NHRP(ctx context.Context) ([]Entry, error) { return ask[[]Entry](ctx, c, "nhrp") }

// NHS asks for /v1/nhs.
func (c *Client) NHS(ctx context.Context) ([]NHS, error) { return ask[[]NHS](ctx, c, "nhs") }

// Shortcuts asks for /v1/shortcuts.
func (c *Client) Shortcuts(ctx context.Context) ([]Shortcut, error) {
	return ask[[]Shortcut](ctx, c, "shortcuts")
}

// Stats asks for /v1/stats.
func (c *Client) Stats(ctx context.Context) (Stats, error) { return ask[Stats](ctx, c, "stats") }

// Drops asks for /v1/drops.
func (c *Client) Drops(ctx context.Context) ([]Drop, error) { return ask[[]Drop](ctx, c, "drops") }

// Multicast asks for /v1/multicast.
func (c *Client) Multicast(ctx context.Context) ([]Multicast, error) {
	return ask[[]Multicast](ctx, c, "multicast")
}

// NHRPCounters asks for /v1/nhrp/counters.
func (c *Client) NHRPCounters(ctx context.Context) ([]NHRPCounters, error) {
	return ask[[]NHRPCounters](ctx, c, "nhrp/counters")
}

// Stop asks for /v1/stop.
func (c *Client) Stop(ctx context.Context) error {
	return c.Post(ctx, "stop")
}

// Teardown asks for /v1/teardown and waits until the data plane is gone, and with release
// the unreachable routes under what was protected.
func (c *Client) Teardown(ctx context.Context, release bool) error {
	if release {
		return c.Post(ctx, "teardown?release=true")
	}
	return c.Post(ctx, "teardown")
}

func ask[T any](ctx context.Context, c *Client, name string) (T, error) {
	var answer T
	err := c.request(ctx, http.MethodGet, name, &answer)
	return answer, err
}

func (c *Client) request(ctx context.Context, method, name string, into any) error {
	answer, err := c.do(ctx, method, name)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("control socket %s: %s: %w", c.socket, name, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("control socket %s: %s: the answer is not what this program expects (%w): are dmvpn and dmvpnd of the same version?", c.socket, name, err)
	}
	return nil
}

// do makes a request; an answer that is an error is given as one.
func (c *Client) do(ctx context.Context, method, name string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://dmvpn/v1/"+name, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.away(err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %s: %w", c.socket, name, err)
	}
	var f Failure
	if err := json.Unmarshal(text, &f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("control socket %s: %s: status %s", c.socket, name, answer.Status)
	}
	return nil, fmt.Errorf("dmvpnd: %s", f.Error)
}

// away turns the errors of connecting into a sentence.
func (c *Client) away(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s; start it, or name the instance with --instance or --run-dir", ErrAway, c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody listens at %s; start it", ErrAway, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no access to %s: run as root, or as a member of the socket's group", c.socket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("control socket %s: dmvpnd does not answer; look at its log", c.socket)
	}
	return fmt.Errorf("control socket %s: %w", c.socket, err)
}
