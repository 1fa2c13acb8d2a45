// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader"
	"dmvpn/loader/esp"
	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

// site is one end of a protected tunnel: the whole data plane, with ESP in UDP and by itself.
//
//	near  dmvpn0 10.0.0.11 ⋯ w0 192.0.2.11 ═══════ w1 192.0.2.1 ⋯ dmvpn0 10.0.0.1  far
type site struct {
	t        *testing.T
	device   *kernel.Device
	tables   *tables.Tables
	database *esp.Database
	pump     *Pump
	udp      *underlay.UDPConn
	raw      *underlay.ESPConn
	at       netip.AddrPort
	nhrp     chan string
	unknown  chan uint32
	moved    chan netip.AddrPort
	dummies  atomic.Uint64
	running  sync.WaitGroup
	seen     [][]byte // what the opener was handed, if record
	record   bool
	mu       sync.Mutex
}

// SendSegments implements Segments.
func (s *site) SendSegments(p *esp.Path, tos uint8, size int, b []byte) error {
	if !p.Encapsulation {
		return s.raw.SendSegments(p.Local.Addr(), p.Remote.Addr(), tos, size, b)
	}
	return s.udp.SendSegments(p.Local, p.Remote, tos, size, b)
}

func newSite(t *testing.T, device, address, inside string, change func(*Config)) *site {
	t.Helper()
	host := must(kernel.Open())(t)
	t.Cleanup(host.Close)
	s := &site{t: t, at: netip.AddrPortFrom(netip.MustParseAddr(address), 4500),
		nhrp: make(chan string, 8), unknown: make(chan uint32, 8), moved: make(chan netip.AddrPort, 8)}
	s.device = must(host.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix(inside + "/24"), netip.MustParsePrefix(of6(inside) + "/64")}, MTU: 1400}))(t)
	out := must(host.Underlay(kernel.UnderlaySpec{Device: device}))(t)
	plane := must(loader.Open(loader.Options{BPFFS: netnstest.BPFFS(t), Instance: "test"}))(t)
	t.Cleanup(func() { _ = plane.Close() })
	s.tables = plane.Tables
	check(t, plane.AttachTunnel(s.device.Index, false))
	check(t, plane.AttachUnderlay(out.Index))
	check(t, s.tables.SetTunnel(tables.Tunnel{IfIndex: s.device.Index, UnderlayIfIndex: out.Index, Local: s.at.Addr(), Key: key, HasKey: true, MTU: 1400, Protected: true}))
	s.database = esp.NewDatabase(rand.Reader, nil)
	s.udp = must(underlay.OpenUDP(underlay.UDPConfig{Local: s.at, Device: device, Encapsulation: true}))(t)
	s.raw = must(underlay.OpenESP(underlay.Config{Local: s.at.Addr(), Device: device}))(t)
	config := Config{Tunnel: s.device.Index, Header: header, MTU: 1400, Queues: []*Queue{NewQueue(s.device.Queues[0])}, Tables: s.tables, Protected: true, MSSClamp: true, ESP: s,
		Secure: func(_ *esp.Association, b []byte) bool {
			s.nhrp <- string(b)
			return true
		}}
	if change != nil {
		change(&config)
	}
	s.pump = New(config)
	opener := func() *Opener {
		return NewOpener(OpenerConfig{Database: s.database, Tables: s.tables, Dummies: &s.dummies,
			Elsewhere: func(_ *esp.Association, _, remote netip.AddrPort) { s.moved <- remote },
			Unknown:   func(spi uint32, _, _ netip.AddrPort) { s.unknown <- spi }})
	}
	s.running.Go(func() {
		if err := s.pump.RunQueue(config.Queues[0]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the pump ended: %v", err)
		}
	})
	s.running.Go(func() { s.receive(s.udp, opener()) })
	s.running.Go(func() { s.receive(s.raw, opener()) })
	t.Cleanup(func() {
		check(t, s.device.Queues[0].SetReadDeadline(time.Unix(1, 0)))
		check(t, s.udp.Close())
		check(t, s.raw.Close())
		s.running.Wait()
		check(t, s.device.Close())
	})
	return s
}

func (s *site) receive(c interface{ ReadBatch(*underlay.Batch) error }, o *Opener) {
	batch := underlay.NewBatch(16)
	for {
		if err := c.ReadBatch(batch); err != nil {
			if !errors.Is(err, os.ErrClosed) {
				s.t.Errorf("the receiver ended: %v", err)
			}
			return
		}
		o.Begin(time.Now())
		for _, d := range batch.Datagrams {
			if d.Kind == underlay.ESP {
				s.mu.Lock()
				if s.record {
					s.seen = append(s.seen, bytes.Clone(d.Data))
				}
				s.mu.Unlock()
				o.Open(d.Data, d.TOS, d.Local, d.Remote)
			}
		}
		o.End()
	}
}

// join makes an association with another site, each with the key of the other's direction.
func join(t *testing.T, near, far *site, nearIP, farIP string, x esp.Transform) (a, b *esp.Association) {
	t.Helper()
	spis := [2]uint32{must(near.database.Reserve())(t), must(far.database.Reserve())(t)}
	ends := [2]*site{near, far}
	var made [2]*esp.Association
	for i, s := range ends {
		other, ip := ends[1-i], []string{farIP, nearIP}[i]
		hop := netip.MustParseAddr(ip)
		id := must(s.tables.Admit(s.device.Index, tables.Endpoint{NBMA: other.at.Addr()}, hop, 0))(t)
		check(t, s.tables.Bind(s.device.Index, hop, id))
		check(t, s.tables.Bind(s.device.Index, netip.MustParseAddr(of6(ip)), id))
		made[i] = &esp.Association{
			Peer: 1, Owner: &Secured{Pump: s.pump, Peer: id},
			In:  must(esp.NewInbound(esp.InboundConfig{SPI: spis[i], Extended: true, Transform: x}))(t),
			Out: must(esp.NewOutbound(esp.OutboundConfig{SPI: spis[1-i], Extended: true, Transform: x}))(t),
		}
		check(t, s.database.Install(made[i], esp.Path{Local: s.at, Remote: other.at, Encapsulation: true}))
		s.database.Activate(spis[i])
		s.pump.Secure(id, made[i])
	}
	return made[0], made[1]
}

// of6 is the IPv6 address inside of who has one of IPv4: fd00::11 of 10.0.0.11.
func of6(inside string) string { return strings.Replace(inside, "10.0.0.", "fd00::", 1) }

func newSites(t *testing.T, change func(*Config)) (near, far *site, other string, run func(string) string) {
	t.Helper()
	netnstest.Enter(t)
	run, pid := netnstest.Other(t)
	netnstest.Run(t, "ip link add w0 type veth peer name w1 netns "+pid)
	netnstest.Run(t, "ip address add 192.0.2.11/24 dev w0")
	netnstest.Run(t, "ip link set w0 up")
	run("ip address add 192.0.2.1/24 dev w1")
	run("ip link set w1 up")
	near = newSite(t, "w0", "192.0.2.11", "10.0.0.11", change)
	netnstest.In(t, pid, func() { far = newSite(t, "w1", "192.0.2.1", "10.0.0.1", change) })
	return near, far, pid, run
}

var gcm = esp.Transform{Algorithm: esp.AESGCM16, Key: bytes.Repeat([]byte{7}, 20)}

func (s *site) drops() string {
	var out []string
	all, err := s.tables.Drops()
	if err != nil {
		return err.Error()
	}
	for _, d := range all {
		out = append(out, fmt.Sprintf("%s×%d", d.Reason, d.Packets))
	}
	return strings.Join(out, " ")
}

// wrapped changes how two ends wrap packets: in UDP or not, in either mode.
func wrapped(t *testing.T, near, far *site, a, b *esp.Association, inUDP, tunnelMode bool) {
	t.Helper()
	for i, s := range []*site{near, far} {
		x, other := []*esp.Association{a, b}[i], []*site{far, near}[i]
		s.database.Move(x.In.SPI, esp.Path{Local: s.at, Remote: other.at, Encapsulation: inUDP})
		if tunnelMode {
			x.Tunnel = must(esp.NewTunnel(s.at.Addr(), other.at.Addr(), protocolGRE))(t)
		}
	}
}

// TCP with large segments crosses whole, both ways, in GSO packets in and out, and
// nothing is dropped, however ESP is wrapped.
func TestProtectedTunnelCarriesTCP(t *testing.T) {
	for _, c := range []struct {
		name              string
		inUDP, tunnelMode bool
	}{{"transport mode in UDP", true, false}, {"transport mode", false, false}, {"tunnel mode in UDP", true, true}, {"tunnel mode", false, true}} {
		t.Run(c.name, func(t *testing.T) { carriesTCP(t, "10.0.0.1", c.inUDP, c.tunnelMode) })
		t.Run(c.name+", IPv6 inside", func(t *testing.T) { carriesTCP(t, "fd00::1", c.inUDP, c.tunnelMode) })
	}
}

func carriesTCP(t *testing.T, inside string, inUDP, tunnelMode bool) {
	near, far, pid, _ := newSites(t, nil)
	a, b := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	wrapped(t, near, far, a, b, inUDP, tunnelMode)
	var l net.Listener
	netnstest.In(t, pid, func() { l = must(net.Listen("tcp", net.JoinHostPort(inside, "5001")))(t) })
	defer l.Close()
	data := make([]byte, 32<<20)
	_, _ = rand.Read(data)
	sums := make(chan [32]byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(h, c), io.LimitReader(c, int64(len(data)))); err != nil {
			t.Error(err)
		}
		sums <- [32]byte(h.Sum(nil))
	}()
	c := must(net.DialTimeout("tcp", net.JoinHostPort(inside, "5001"), 5*time.Second))(t)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(60*time.Second)))
	start := time.Now()
	go func() {
		if _, err := c.Write(data); err != nil {
			t.Error(err)
		}
	}()
	h := sha256.New()
	if _, err := io.CopyN(h, c, int64(len(data))); err != nil {
		t.Fatalf("%v; near dropped %s, far %s", err, near.drops(), far.drops())
	}
	want := sha256.Sum256(data)
	if got := <-sums; got != want || [32]byte(h.Sum(nil)) != want {
		t.Error("what came is not what was sent")
	}
	t.Logf("%d MiB each way in %v", len(data)>>20, time.Since(start).Round(time.Millisecond))
	for _, s := range []*site{near, far} {
		if d := s.drops(); d != "" {
			t.Errorf("dropped: %s", d)
		}
	}
	for _, x := range []*esp.Association{a, b} {
		if got := x.In.Stats(); got.Packets < uint64(len(data)/1400) || got.Integrity+got.Replayed+got.Malformed != 0 {
			t.Errorf("ESP received: %+v", got)
		}
	}
	if n := near.raw.Counters().Received + far.raw.Counters().Received; (n == 0) != inUDP {
		t.Errorf("%d packets came without UDP", n)
	}
	if a.Received().IsZero() {
		t.Error("the association does not know that packets came")
	}
}

// Other packets cross as they are: UDP of every length, ICMP, NHRP.
func TestProtectedTunnelCarriesEverythingElse(t *testing.T) {
	for inside, largest := range map[string]int{"10.0.0.1": 1372, "fd00::1": 1352} {
		t.Run(inside, func(t *testing.T) { carriesEverythingElse(t, inside, largest) })
	}
}

func carriesEverythingElse(t *testing.T, inside string, largest int) {
	near, far, pid, run := newSites(t, nil)
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	var server *net.UDPConn
	netnstest.In(t, pid, func() { server = listen(t, net.JoinHostPort(inside, "5002")) })
	check(t, server.SetReadDeadline(time.Now().Add(20*time.Second)))
	c := must(net.Dial("udp", net.JoinHostPort(inside, "5002")))(t)
	defer c.Close()
	buf := make([]byte, 4000)
	for n := 0; n <= largest; n += 49 {
		data := bytes.Repeat([]byte{byte(n)}, n)
		must(c.Write(data))(t)
		m, err := server.Read(buf)
		if err != nil || !bytes.Equal(buf[:m], data) {
			t.Fatalf("%d octets: %v; near dropped %s, far %s", n, err, near.drops(), far.drops())
		}
	}
	// Larger ones in inner fragments.
	data := bytes.Repeat([]byte("x"), 3000)
	must(c.Write(data))(t)
	if m, err := server.Read(buf); err != nil || !bytes.Equal(buf[:m], data) {
		t.Fatalf("fragments: %v", err)
	}
	run("ping -c 3 -i 0.05 -W 2 " + inside + "1")
	check(t, near.pump.SendSecure(a, []byte("registration request")))
	select {
	case got := <-far.nhrp:
		if got != "registration request" {
			t.Errorf("NHRP: %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("NHRP did not arrive")
	}
	if d := near.drops() + far.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}

// What is wrong is dropped and counted by its reason, and nothing goes out in clear.
func TestProtectedTunnelDrops(t *testing.T) {
	eventually := func(t *testing.T, s *site, want string) {
		t.Helper()
		netnstest.Eventually(t, want, func() bool { return strings.Contains(s.drops(), want) })
	}
	for _, c := range secureDropCases {
		t.Run(c.name, func(t *testing.T) {
			near, far, _, run := newSites(t, c.config)
			c.do(t, near, far, run)
			at := far
			if c.near {
				at = near
			}
			eventually(t, at, c.reason.String())
		})
	}
}

type secureDropCase struct {
	name   string
	reason tables.Reason
	near   bool // where it is counted
	config func(*Config)
	do     func(t *testing.T, near, far *site, run func(string) string)
}

var secureDropCases = []secureDropCase{
	{"no SA with the peer", tables.DropNoSA, true, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		id, _ := near.tables.Bound(near.device.Index, netip.MustParseAddr("10.0.0.1"))
		near.pump.Secure(id, nil)
		datagram(t)
	}},
	{"NHRP of an SA whose peer is gone", tables.DropNoSA, false, func(c *Config) {
		c.Secure = func(*esp.Association, []byte) bool { return false }
	}, func(t *testing.T, near, far *site, _ func(string) string) {
		a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		check(t, near.pump.SendSecure(a, []byte("registration request")))
	}},
	{"a device that takes its time", tables.DropQueueFull, true, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		netnstest.Run(t, "tc qdisc add dev w0 root tbf rate 1mbit burst 10kb limit 10mb")
		raw := must(near.udp.File().SyscallConn())(t)
		var set error
		check(t, raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096) }))
		check(t, set)
		c := must(net.ListenUDP("udp4", nil))(t) // not connected: nobody listens there
		defer c.Close()
		for range 200 {
			must(c.WriteToUDPAddrPort(make([]byte, 1200), netip.MustParseAddrPort("10.0.0.1:5003")))(t)
		}
	}},
	{"an SPI that nobody has", tables.DropUnknownSPI, false, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		far.database.Remove(a.Out.SPI)
		datagram(t)
		select {
		case spi := <-far.unknown:
			if spi != a.Out.SPI {
				t.Errorf("told of %08x", spi)
			}
		case <-time.After(5 * time.Second):
			t.Error("nobody was told")
		}
	}},
	{"a packet that comes again", tables.DropReplay, false, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		far.mu.Lock()
		far.record = true
		far.mu.Unlock()
		datagram(t)
		netnstest.Eventually(t, "a packet", func() bool { far.mu.Lock(); defer far.mu.Unlock(); return len(far.seen) > 0 })
		check(t, near.udp.SendSegments(near.at, far.at, 0, len(far.seen[0]), far.seen[0]))
	}},
	{"a packet that was changed", tables.DropIntegrity, false, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		b := append([]byte{0, 0, 0, 0, 0, 0, 0, 9}, make([]byte, 64)...)
		b[0], b[1], b[2], b[3] = byte(a.Out.SPI>>24), byte(a.Out.SPI>>16), byte(a.Out.SPI>>8), byte(a.Out.SPI)
		check(t, near.udp.SendSegments(near.at, far.at, 0, len(b), b))
	}},
	{"FW-08: another tunnel's key inside of ESP", tables.DropUnknownTunnel, false, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		near.pump.config.Header.Key = 43
		datagram(t)
	}},
	{"SC-12: an inner source that is another's", tables.DropSpoofed, false, func(c *Config) {
		c.Permitted = func(_ tables.PeerID, source netip.Addr) bool { return source != netip.MustParseAddr("10.0.0.11") }
	}, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		datagram(t)
	}},
	{"GRE in clear from outside", tables.DropCleartext, false, nil, func(t *testing.T, near, far *site, _ func(string) string) {
		join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE))(t)
		defer unix.Close(fd)
		good := greWith(0x2000, ipv4InGRE, udp4("10.0.0.11", "10.0.0.1", 5000, make([]byte, 20)))
		check(t, unix.Sendto(fd, good, 0, &unix.SockaddrInet4{Addr: far.at.Addr().As4()}))
	}},
}

func datagram(t *testing.T) {
	t.Helper()
	c := must(net.Dial("udp4", "10.0.0.1:5003"))(t)
	defer c.Close()
	must(c.Write([]byte("hello")))(t)
}

func TestWhoComesFromElsewhereIsTold(t *testing.T) {
	near, far, _, _ := newSites(t, nil)
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	second := netip.AddrPortFrom(near.at.Addr(), 14500)
	defer near.udp.Close()
	near.udp = must(underlay.OpenUDP(underlay.UDPConfig{Local: second, Device: "w0", Encapsulation: true}))(t)
	near.database.Move(a.In.SPI, esp.Path{Local: second, Remote: far.at, Encapsulation: true})
	datagram(t)
	select {
	case got := <-far.moved:
		if got != second {
			t.Errorf("told of %s", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told")
	}
	datagram(t)
	datagram(t)
	select {
	case got := <-far.moved:
		t.Errorf("told again of %s", got)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestWhoComesWithoutUDPIsTold(t *testing.T) {
	near, far, _, _ := newSites(t, nil)
	a, _ := join(t, near, far, "10.0.0.11", "10.0.0.1", gcm)
	near.database.Move(a.In.SPI, esp.Path{Local: near.at, Remote: far.at})
	datagram(t)
	select {
	case got := <-far.moved:
		if want := netip.AddrPortFrom(near.at.Addr(), 0); got != want {
			t.Errorf("told of %s", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	if d := far.drops(); d != "" {
		t.Errorf("dropped: %s", d)
	}
}
