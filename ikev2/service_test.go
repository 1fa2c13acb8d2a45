// SPDX-License-Identifier: Apache-2.0

package ikev2

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/sa"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sharedKey = "a key that is shared by everybody"

// connection is a policy that lets in whoever has the shared key.
func connection(t *testing.T, name string, id string) *sa.Connection {
	t.Helper()
	all, err := auth.ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	c := &sa.Connection{Name: name, Local: identity(t, id), SharedKeys: auth.SharedKeys{{Peer: all, Key: []byte(sharedKey)}}}
	c.SetDefaults()
	return c
}

// station is a Service on a real socket, with what it has told.
type station struct {
	*Service
	socket *net.UDPConn
	at     netip.AddrPort
	plane  *plane
	log    *locked

	mu     sync.Mutex
	events []string
	stop   func()
}

// locked is a buffer for a log that is read while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newStation runs a Service on a socket of the loopback device until the test ends.
func newStation(t *testing.T, id string) *station {
	t.Helper()
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	s := &station{socket: socket, at: socket.LocalAddr().(*net.UDPAddr).AddrPort(), plane: newPlane(), log: &locked{}}
	s.Service = New(Config{
		Machine: sa.Config{Connections: []*sa.Connection{connection(t, "net", id)}, Installer: s.plane, CrashSecret: crypto.Secret(id)},
		Sender:  s, Handler: s, Resolver: net.DefaultResolver, Log: zerolog.New(s.log),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	running.Go(s.read)
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-s.done
		_ = socket.Close() // what it still had to say is said
		running.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

func (s *station) read() {
	b := make([]byte, 65536)
	for {
		n, from, err := s.socket.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		s.Deliver(s.at, from, b[:n])
	}
}

// Send implements Sender.
func (s *station) Send(_, remote netip.AddrPort, message []byte) error {
	_, err := s.socket.WriteToUDPAddrPort(message, remote)
	return err
}

// Keepalive implements Sender.
func (s *station) Keepalive(local, remote netip.AddrPort) error {
	return s.Send(local, remote, []byte{0xFF})
}

// Source implements Sender.
func (s *station) Source(netip.Addr) (netip.Addr, error) { return s.at.Addr(), nil }

func (s *station) tell(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

// Up implements Handler, as the others do.
func (s *station) Up(p sa.Peer) { s.tell("up " + p.Identity.String()) }
func (s *station) Down(p sa.Peer, reason string) {
	s.tell("down " + p.Identity.String() + ": " + reason)
}
func (s *station) Moved(p sa.Peer, _ netip.AddrPort) { s.tell("moved " + p.Identity.String()) }
func (s *station) Failed(f sa.Failed)                { s.tell("failed " + f.Remote.String() + ": " + f.Reason) }

func (s *station) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func (s *station) want(o *station) Want {
	return Want{Connection: "net", Host: "127.0.0.1", Port: o.at.Port(), Local: s.at}
}

// plane is an Installer that keeps keys in a table.
type plane struct {
	mu       sync.Mutex
	next     uint32
	children map[uint32]*sa.Child
	active   uint32
	moves    int
}

var spis uint32 = 0x1000

func newPlane() *plane {
	spis += 0x10000
	return &plane{next: spis, children: map[uint32]*sa.Child{}}
}

func (p *plane) Reserve() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next, nil
}
func (p *plane) Release(uint32) {}
func (p *plane) Install(c *sa.Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.children[c.Inbound] != nil {
		return errors.New("installed twice")
	}
	own := *c
	own.In.Encryption, own.Out.Encryption = slices.Clone(c.In.Encryption), slices.Clone(c.Out.Encryption)
	p.children[c.Inbound] = &own
	return nil
}
func (p *plane) Activate(inbound uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = inbound
}
func (p *plane) Retire(uint32) {}
func (p *plane) Remove(inbound uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.children, inbound)
	if p.active == inbound {
		p.active = 0
	}
}
func (p *plane) Move(uint32, netip.AddrPort, netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moves++
}
func (p *plane) Received(uint32) time.Time { return time.Time{} }

// sends gives the Child SA that the peer's packets leave by.
func (p *plane) sends() *sa.Child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.children[p.active]
}

// agree says whether two ends have one Child SA with the same keys, and gives its SPI.
func agree(a, b *station) (spi uint32, ok bool) {
	c, d := a.plane.sends(), b.plane.sends()
	ok = c != nil && d != nil && c.Outbound == d.Inbound && c.Inbound == d.Outbound &&
		bytes.Equal(c.In.Encryption, d.Out.Encryption) && bytes.Equal(c.Out.Encryption, d.In.Encryption)
	if ok {
		spi = c.Inbound
	}
	return spi, ok
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

// connected makes two stations with an IKE SA and a Child SA.
func connected(t *testing.T) (a, b *station) {
	t.Helper()
	a, b = newStation(t, "a.example.net"), newStation(t, "b.example.net")
	a.Connect(a.want(b))
	eventually(t, "both ends have the same keys", func() bool { _, ok := agree(a, b); return ok })
	return a, b
}

func TestTwoServicesAgreeOverUDP(t *testing.T) {
	a, b := connected(t)
	ctx := t.Context()
	eventually(t, "both are told", func() bool { return len(a.told()) > 0 && len(b.told()) > 0 })
	if got := append(a.told(), b.told()...); !slices.Equal(got, []string{"up b.example.net", "up a.example.net"}) {
		t.Errorf("events %q", got)
	}
	snapshot, err := a.Snapshot(ctx)
	if err != nil || len(snapshot.SAs) != 1 || len(snapshot.Wants) != 1 || !snapshot.Wants[0].Up {
		t.Fatalf("snapshot %+v, %v", snapshot, err)
	}
	first, _ := agree(a, b)

	if n, err := a.Rekey(ctx, "b.example.net", false); n != 1 || err != nil {
		t.Errorf("rekey: %d, %v", n, err)
	}
	eventually(t, "another IKE SA", func() bool {
		s, err := b.Snapshot(ctx)
		return err == nil && len(s.SAs) == 1 && s.SAs[0].SPIi != snapshot.SAs[0].SPIi
	})
	if spi, ok := agree(a, b); !ok || spi != first {
		t.Errorf("the Child SA changed: %08x, %v", spi, ok)
	}
	if n, err := b.Rekey(ctx, "127.0.0.1", true); n != 1 || err != nil {
		t.Errorf("rekey of the Child SA: %d, %v", n, err)
	}
	eventually(t, "another Child SA", func() bool { spi, ok := agree(a, b); return ok && spi != first })

	second, _ := agree(a, b)
	if n, err := b.Terminate(ctx, "a.example.net", false); n != 1 || err != nil {
		t.Errorf("terminate: %d, %v", n, err)
	}
	eventually(t, "what is wanted comes again", func() bool { spi, ok := agree(a, b); return ok && spi != second })

	a.stop()
	eventually(t, "the end is told", func() bool {
		e := b.told()
		return strings.HasPrefix(e[len(e)-1], "down a.example.net")
	})
	if c := a.Counters(); c.SendFailed+c.KnownDropped+c.NewDropped != 0 || c.Sent == 0 || c.Received == 0 {
		t.Errorf("counters %+v", c)
	}
	if _, err := a.Snapshot(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("a service that has stopped answers %v", err)
	}
	a.plane.mu.Lock()
	defer a.plane.mu.Unlock()
	if len(a.plane.children) != 0 {
		t.Errorf("%d Child SAs are left", len(a.plane.children))
	}
}

func TestBothBeginAtOnceAndOneIKESAIsLeft(t *testing.T) {
	a, b := newStation(t, "a.example.net"), newStation(t, "b.example.net")
	a.Connect(a.want(b))
	b.Connect(b.want(a))
	// What was overtaken leaves a half-open one for a while: it ended without a word.
	eventually(t, "one IKE SA at each end", func() bool {
		_, ok := agree(a, b)
		for _, s := range []*station{a, b} {
			snapshot, err := s.Snapshot(t.Context())
			ended := slices.DeleteFunc(snapshot.SAs, func(i sa.Info) bool { return i.State == "half-open" })
			ok = ok && err == nil && len(ended) == 1 && ended[0].State == established
		}
		return ok
	})
	for _, s := range []*station{a, b} {
		if got := s.told(); len(got) != 1 || !strings.HasPrefix(got[0], "up ") {
			t.Errorf("events %q", got)
		}
	}
}

func TestDisconnectEndsIt(t *testing.T) {
	a, b := connected(t)
	a.Disconnect(a.want(b))
	eventually(t, "nothing is left", func() bool {
		x, errA := a.Snapshot(t.Context())
		y, errB := b.Snapshot(t.Context())
		return errA == nil && errB == nil && len(x.SAs)+len(y.SAs)+len(x.Wants) == 0
	})
}

// TestTheLogHasNothingSecret although it has everything else.
func TestTheLogHasNothingSecret(t *testing.T) {
	a, b := connected(t)
	secrets := [][]byte{[]byte(sharedKey), []byte("a.example.net's crash secret")}
	a.plane.mu.Lock()
	for _, c := range a.plane.children {
		secrets = append(secrets, c.In.Encryption[:16], c.Out.Encryption[:16])
	}
	a.plane.mu.Unlock()
	if _, err := a.Rekey(t.Context(), "b.example.net", true); err != nil {
		t.Fatal(err)
	}
	first, _ := agree(a, b)
	eventually(t, "a rekey", func() bool { spi, ok := agree(a, b); return ok && spi != first })
	trace, err := a.Trace()
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	text := a.log.String() + b.log.String()
	for _, l := range trace.Last {
		text += l.Message
	}
	if !strings.Contains(text, "IKE_AUTH request") || !strings.Contains(text, "CREATE_CHILD_SA response") {
		t.Fatalf("the log has not what it should:\n%s", text)
	}
	for _, s := range secrets {
		if strings.Contains(text, string(s)) || strings.Contains(strings.ToLower(text), hex.EncodeToString(s)) {
			t.Errorf("the log has the secret %q", s)
		}
	}
}
