// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/netnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is one IKE with its table.
type end struct {
	*IKE
	plain *Plain
	at    netip.Addr
	stop  func()
}

// newEnd opens the sockets in the test's namespace and runs until the test ends.
func newEnd(t *testing.T, address, toml string) *end {
	t.Helper()
	s, err := config.ParseIPsec("test.toml", []byte(toml))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connection("net", &s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := &end{plain: NewPlain(zerolog.Nop()), at: netip.MustParseAddr(address)}
	e.IKE = New(Config{
		Connections: []*sa.Connection{c}, Installer: e.plain, CrashSecret: filepath.Join(t.TempDir(), "crash-secret"),
		Failed: func(err error) { t.Error(err) }, Log: zerolog.Nop(),
	})
	if err := e.Listen(Endpoint{Address: e.at}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(e.stop)
	return e
}

func (e *end) connect(o *end) {
	e.Service().Connect(ikev2.Want{Connection: "net", Host: o.at.String(), Port: Port, Local: netip.AddrPortFrom(e.at, Port)})
}

// sa gives the one IKE SA that is established.
func (e *end) sa(t *testing.T) (control.IKESA, bool) {
	t.Helper()
	k, err := e.IKE.IKE(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(k.SAs) != 1 || k.SAs[0].State != control.IKEEstablished || len(k.SAs[0].Children) != 1 {
		return control.IKESA{}, false
	}
	return k.SAs[0], true
}

const both = "[ipsec]\nidentity = \"ID\"\npsk = \"a-key-that-is-shared\"\n"

func policy(id, more string) string { return strings.Replace(both, "ID", id, 1) + more }

// TestTwoEndsAgree over real sockets, on port 500 and, with encapsulation, on port
// 4500 with the non-ESP marker in front, which a keepalive does not have.
func TestTwoEndsAgree(t *testing.T) {
	for _, c := range []struct {
		name, more string
		port       uint16
	}{
		{"on port 500", "encapsulation = \"raw\"\n", Port},
		{"on port 4500", "encapsulation = \"udp\"\n", PortNATT},
	} {
		t.Run(c.name, func(t *testing.T) {
			netnstest.Enter(t)
			a, b := newEnd(t, "127.0.0.1", policy("a.example.net", c.more)), newEnd(t, "127.0.0.2", policy("b.example.net", "encapsulation = \"raw\"\n"))
			a.connect(b)
			netnstest.Eventually(t, "an IKE SA at both ends", func() bool {
				_, mine := a.sa(t)
				_, theirs := b.sa(t)
				return mine && theirs
			})
			mine, _ := a.sa(t)
			theirs, _ := b.sa(t)
			if mine.Remote != netip.AddrPortFrom(b.at, c.port) || theirs.Remote != netip.AddrPortFrom(a.at, c.port) {
				t.Errorf("endpoints %s and %s", mine.Remote, theirs.Remote)
			}
			x, y := mine.Children[0], theirs.Children[0]
			if mine.SPIi != theirs.SPIi || mine.SPIr != theirs.SPIr || x.Inbound != y.Outbound || x.Outbound != y.Inbound {
				t.Errorf("they do not agree: %+v, %+v", mine, theirs)
			}
			if mine.Suite != "aes256gcm16-prfsha256-x25519-ke1_mlkem768" || x.Suite != "aes256gcm16" || x.Encapsulation != (c.port == PortNATT) {
				t.Errorf("suites %q and %q, in UDP %v", mine.Suite, x.Suite, x.Encapsulation)
			}
			if c.port == PortNATT {
				if err := a.sockets.Keepalive(mine.Local, mine.Remote); err != nil {
					t.Error(err)
				}
				netnstest.Eventually(t, "a keepalive", func() bool {
					k, err := b.IKE.IKE(t.Context())
					return err == nil && k.Counters["keepalives-received"] > 0
				})
			}
			if children, reserved := a.plain.Children(); len(children) != 1 || reserved != 0 || !children[0].Active {
				t.Errorf("table %+v, %d reserved", children, reserved)
			}
			a.stop()
			netnstest.Eventually(t, "the end is told", func() bool { _, there := b.sa(t); return !there })
			if children, reserved := a.plain.Children(); len(children)+reserved != 0 {
				t.Errorf("left: %+v, %d", children, reserved)
			}
		})
	}
}

func TestThePortIsTaken(t *testing.T) {
	netnstest.Enter(t)
	a := newEnd(t, "127.0.0.1", policy("a.example.net", ""))
	b := New(Config{CrashSecret: filepath.Join(t.TempDir(), "s"), Log: zerolog.Nop(), Failed: func(err error) { t.Error(err) }})
	defer b.Close()
	err := b.Listen(Endpoint{Address: a.at})
	if err == nil || !strings.Contains(err.Error(), "another program has the port (ss -unlp)") {
		t.Errorf("got %v", err)
	}
	// Tunnels that share an endpoint share its sockets, until the last one leaves.
	at := Endpoint{Address: netip.MustParseAddr("127.0.0.9")}
	for range 2 {
		if err := b.Listen(at); err != nil {
			t.Fatal(err)
		}
	}
	local := netip.AddrPortFrom(at.Address, Port)
	for i := range 2 {
		if err := b.sockets.Send(local, netip.AddrPortFrom(a.at, Port), []byte("x")); err != nil {
			t.Errorf("with %d users: %v", 2-i, err)
		}
		if err := b.Unlisten(at); err != nil {
			t.Error(err)
		}
	}
	if err := b.sockets.Send(local, netip.AddrPortFrom(a.at, Port), []byte("x")); err == nil {
		t.Error("sent without a socket")
	}
}

func TestWithoutIKEThereIsNothingToShow(t *testing.T) {
	var none *IKE
	k, err := none.IKE(t.Context())
	if err != nil || k.SAs == nil || k.Wants == nil || k.Counters == nil {
		t.Errorf("%+v, %v", k, err)
	}
	_, rekey := none.IKERekey(t.Context(), "1", false)
	_, terminate := none.IKETerminate(t.Context(), "1", false)
	trace := none.IKETrace(t.Context(), "", false, nil)
	for _, err := range []error{rekey, terminate, trace} {
		if !errors.Is(err, errNone) {
			t.Errorf("got %v", err)
		}
	}
}

func TestATableTakesOnlyWhatWasReserved(t *testing.T) {
	p := NewPlain(zerolog.Nop())
	spi, err := p.Reserve()
	if err != nil || spi < minSPI {
		t.Fatalf("%08x, %v", spi, err)
	}
	c := &sa.Child{Inbound: spi, Outbound: 7}
	if err := p.Install(c); err == nil || !strings.Contains(err.Error(), "without keys") {
		t.Errorf("without keys: %v", err)
	}
	c.In.Encryption, c.Out.Encryption = []byte("in"), []byte("out")
	if err := p.Install(c); err != nil {
		t.Fatal(err)
	}
	if err := p.Install(c); err == nil {
		t.Error("installed twice")
	}
	children, _ := p.Children()
	if len(children) != 1 || children[0].In.Encryption != nil || children[0].Out.Encryption != nil {
		t.Errorf("the table keeps keys: %v", children)
	}
	if string(c.In.Encryption) != "in" {
		t.Error("the caller's keys are gone")
	}
}
