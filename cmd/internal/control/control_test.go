// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lines are what daemon traces.
var lines = []IKELine{
	{Time: time.Unix(1e9, 0).UTC(), Local: netip.MustParseAddrPort("192.0.2.1:500"), Remote: netip.MustParseAddrPort("198.51.100.7:500"), Message: "IKE_SA_INIT request 0"},
	{Time: time.Unix(1e9, 5e6).UTC(), Local: netip.MustParseAddrPort("192.0.2.1:500"), Remote: netip.MustParseAddrPort("198.51.100.7:500"), Out: true, Message: "IKE_SA_INIT response 0", Missed: 3},
}

func (d *daemon) IKE(context.Context) (IKE, error) {
	return IKE{SAs: []IKESA{{ID: 7, Algorithms: Algorithms{Encryption: "aes256gcm16"}}}, Counters: map[string]uint64{"sent": 3}}, d.err
}

func (d *daemon) IKERekey(_ context.Context, peer string, child bool) (IKEDone, error) {
	d.ordered = fmt.Sprintf("rekey %s %v", peer, child)
	return IKEDone{SAs: 1}, d.err
}

func (d *daemon) IKETerminate(_ context.Context, peer string, child bool) (IKEDone, error) {
	d.ordered = fmt.Sprintf("terminate %s %v", peer, child)
	return IKEDone{SAs: 2}, d.err
}

// IKETrace gives the lines, and with follow waits for the end of the reader.
func (d *daemon) IKETrace(ctx context.Context, peer string, follow bool, each func(IKELine) error) error {
	if d.err != nil {
		return d.err
	}
	if err := each(IKELine{}); err != nil {
		return err
	}
	for _, l := range lines {
		if peer != "" && peer != l.Remote.Addr().String() {
			continue
		}
		if err := each(l); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
		d.followed.Store(true)
	}
	return nil
}

// daemon is a Source that answers with what it is made of.
type daemon struct {
	status   Status
	drops    []Drop
	err      error
	wait     bool // until the request is given up
	stopped  atomic.Bool
	tornDown atomic.Bool
	released atomic.Bool
	followed atomic.Bool
	ordered  string
}

func (d *daemon) Status(ctx context.Context) (Status, error) {
	if d.wait {
		<-ctx.Done()
		return Status{}, ctx.Err()
	}
	return d.status, d.err
}
func (d *daemon) Peers(context.Context) ([]Peer, error)          { return []Peer{}, d.err }
func (d *daemon) NHRP(context.Context) ([]Entry, error)          { return []Entry{}, d.err }
func (d *daemon) NHS(context.Context) ([]NHS, error)             { return []NHS{}, d.err }
func (d *daemon) Shortcuts(context.Context) ([]Shortcut, error)  { return []Shortcut{}, d.err }
func (d *daemon) Stats(context.Context) (Stats, error)           { return Stats{}, d.err }
func (d *daemon) Drops(context.Context) ([]Drop, error)          { return d.drops, d.err }
func (d *daemon) Multicast(context.Context) ([]Multicast, error) { return []Multicast{}, d.err }
func (d *daemon) NHRPCounters(context.Context) ([]NHRPCounters, error) {
	return []NHRPCounters{}, d.err
}
func (d *daemon) ClearShortcuts(_ context.Context, tunnel string, within []netip.Prefix) (Cleared, error) {
	d.ordered = fmt.Sprintf("clear %q %v", tunnel, within)
	return Cleared{Shortcuts: 1, Negatives: 2}, d.err
}
func (d *daemon) Stop(context.Context) error { d.stopped.Store(true); return d.err }
func (d *daemon) Teardown(_ context.Context, release bool) error {
	d.tornDown.Store(true)
	d.released.Store(release)
	return d.err
}

func serve(t *testing.T, d *daemon) (client *Client, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	s, err := Listen(socket, Handler(d))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	client = NewClient(socket)
	t.Cleanup(func() {
		client.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there after Close: %v", err)
		}
	})
	return client, socket
}

func TestTheClientReadsWhatTheDaemonSays(t *testing.T) {
	key := uint32(42)
	d := &daemon{
		status: Status{Instance: "default", PID: 7, Started: time.Unix(1e9, 0).UTC(), Tunnels: []Tunnel{{
			Name: "dmvpn0", Address: netip.MustParsePrefix("10.0.0.1/24"), NBMA: netip.MustParseAddr("192.0.2.1"), Key: &key,
		}}},
		drops: []Drop{{Peer: 3, Reason: "too-big", Number: 12, Packets: 5, Bytes: 7500, NBMA: netip.MustParseAddr("198.51.100.7")}},
	}
	client, _ := serve(t, d)
	ctx := t.Context()
	status, err := client.Status(ctx)
	if diff := cmp.Diff(d.status, status, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("status: %v\n%s", err, diff)
	}
	drops, err := client.Drops(ctx)
	if err != nil || len(drops) != 1 || drops[0] != d.drops[0] {
		t.Errorf("drops: %v, %v", drops, err)
	}
	if err := client.Stop(ctx); err != nil || !d.stopped.Load() {
		t.Errorf("stop: %v, reached the daemon: %v", err, d.stopped.Load())
	}
	for _, release := range []bool{false, true} {
		if err := client.Teardown(ctx, release); err != nil || !d.tornDown.Load() || d.released.Load() != release {
			t.Errorf("teardown: %v, reached the daemon: %v, release %v", err, d.tornDown.Load(), d.released.Load())
		}
	}
}

func TestAnErrorOfTheDaemonReachesTheClientAsItsSentence(t *testing.T) {
	client, _ := serve(t, &daemon{err: errors.New("tables: read dmvpn_stats: it is broken")})
	_, err := client.Peers(t.Context())
	if err == nil || err.Error() != "dmvpnd: tables: read dmvpn_stats: it is broken" {
		t.Errorf("got %v", err)
	}
}

func TestOnlyOwnerAndGroupMaySpeak(t *testing.T) {
	_, socket := serve(t, &daemon{})
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("mode %o, want 660", got)
	}
}

func TestADeadDaemonsSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(socket, Handler(&daemon{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestEveryPathAnswersInJSON(t *testing.T) {
	server := httptest.NewServer(Handler(&daemon{drops: []Drop{}}))
	defer server.Close()
	for _, c := range []struct {
		method, path string
		body         string
		status       int
		answer       string
	}{
		{"GET", "/v1/peers", "", 200, `[]`},
		{"GET", "/v1/nhrp", "", 200, `[]`},
		{"GET", "/v1/nhs", "", 200, `[]`},
		{"GET", "/v1/shortcuts", "", 200, `[]`},
		{"GET", "/v1/drops", "", 200, `[]`},
		{"GET", "/v1/stats", "", 200, `{"tunnels":null}`},
		{"POST", "/v1/stop", "", 200, `{}`},
		{"POST", "/v1/shortcuts/clear", "", 200, `{"shortcuts":1,"negatives":2}`},
		{"POST", "/v1/shortcuts/clear?prefix=10.10.2.0/24&prefix=2001:db8::1&tunnel=dmvpn0", "", 200, `{"shortcuts":1,"negatives":2}`},
		{"POST", "/v1/shortcuts/clear?prefix=", "", 400, `{"error":"\"\" is neither a prefix nor an address: write 10.10.2.0/24, 2001:db8:2::/48 or 10.10.2.10"}`},
		{"POST", "/v1/shortcuts/clear?prefix=10.10.2.0/33", "", 400, `{"error":"\"10.10.2.0/33\" is neither a prefix nor an address: write 10.10.2.0/24, 2001:db8:2::/48 or 10.10.2.10"}`},
		{"POST", "/v1/shortcuts/clear?prefixes=10.10.2.0/24", "", 400, `{"error":"there is no parameter \"prefixes\", only [\"prefix\" \"tunnel\"]"}`},
		{"POST", "/v1/shortcuts/clear?prefix=::" + strings.Repeat("&prefix=::", mostCleared), "", 400, `{"error":"101 prefixes: name 100 at most, or what holds them"}`},
		{"GET", "/v1/shortcuts/clear", "", 405, `{"error":"GET /v1/shortcuts/clear: use POST"}`},
		{"POST", "/v1/teardown?release=perhaps", "", 400, `{"error":"release=perhaps is neither true nor false"}`},
		{"POST", "/v1/teardown?force=true", "", 400, `{"error":"there is no parameter \"force\", only [\"release\"]"}`},
		{"GET", "/v1/teardown", "", 405, `{"error":"GET /v1/teardown: use POST"}`},
		{"POST", "/v1/peers", "", 405, `{"error":"POST /v1/peers: use GET"}`},
		{"GET", "/v2/peers", "", 404, `{"error":"there is no /v2/peers; ask for /v1/status, peers, nhrp, nhs, shortcuts, stats, drops, multicast or ike"}`},
		{"POST", "/v1/stop", strings.Repeat("x", maxRequest+1), 413, `{"error":"/v1/stop takes no body"}`},
	} {
		t.Run(fmt.Sprintf("%s %s with %d octets", c.method, c.path, len(c.body)), func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			text, err := io.ReadAll(a.Body)
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode != c.status || string(bytes.TrimSpace(text)) != c.answer {
				t.Errorf("got %d %s\nwant %d %s", a.StatusCode, text, c.status, c.answer)
			}
			if !json.Valid(text) || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("not JSON: %s %s", a.Header.Get("Content-Type"), text)
			}
		})
	}
}

func TestARequestEndsWithItsClient(t *testing.T) {
	client, _ := serve(t, &daemon{wait: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Status(ctx)
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
}

func TestManyIdleConnectionsDoNotKeepOthersOut(t *testing.T) {
	client, socket := serve(t, &daemon{})
	// They say nothing: the server ends them after headerTime, and the client,
	// which waits behind them, is served then.
	for range maxConnections {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), headerTime+5*time.Second)
	defer cancel()
	if _, err := client.Status(ctx); err != nil {
		t.Error(err)
	}
}

func TestADaemonThatIsAwayIsASentence(t *testing.T) {
	dir := t.TempDir()
	_, err := NewClient(filepath.Join(dir, "none")).Status(t.Context())
	if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "there is no "+dir) {
		t.Errorf("no socket: %v", err)
	}
	socket := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	_, err = NewClient(socket).Status(t.Context())
	if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("dead socket: %v", err)
	}
	_, err = Listen("/"+strings.Repeat("x", 120), Handler(&daemon{}))
	if err == nil || !strings.Contains(err.Error(), "shorter run-dir") {
		t.Errorf("long path: %v", err)
	}
}
