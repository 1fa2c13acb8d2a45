// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"dmvpn/loader"
	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
	"dmvpn/loader/underlay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = 42

var (
	local  = netip.MustParseAddr("192.0.2.11")
	peer1  = netip.MustParseAddr("192.0.2.1")
	peer2  = netip.MustParseAddr("192.0.2.2")
	header = underlay.Header{Key: key, HasKey: true}
)

// wire is a machine with the whole data plane, and another with plain sockets:
//
//	dmvpn0 10.0.0.11/24 ⋯ w0 192.0.2.11 ───── w1 192.0.2.1 and 192.0.2.2
type wire struct {
	tables *tables.Tables
	tunnel int
	pump   *Pump
	far    map[netip.Addr]*underlay.Conn
	raw    int // far: sends packets with their outer header
	nhrp   chan string
}

// newWire makes both; change, where there is one, changes the pump's Config.
func newWire(t *testing.T, change ...func(*Config)) *wire {
	t.Helper()
	netnstest.Enter(t)
	other, pid := netnstest.Other(t)
	netnstest.Run(t, "ip link add w0 type veth peer name w1 netns "+pid)
	netnstest.Run(t, "ip address add 192.0.2.11/24 dev w0")
	netnstest.Run(t, "ip link set w0 up")
	other("ip address add 192.0.2.1/24 dev w1")
	other("ip address add 192.0.2.2/24 dev w1")
	other("ip link set w1 up")

	host := must(kernel.Open())(t)
	t.Cleanup(host.Close)
	device := must(host.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24"), netip.MustParsePrefix("fd00::11/64")}, MTU: 1400}))(t)
	out := must(host.Underlay(kernel.UnderlaySpec{Device: "w0"}))(t)
	plane := must(loader.Open(loader.Options{BPFFS: netnstest.BPFFS(t), Instance: "test"}))(t)
	t.Cleanup(func() { _ = plane.Close() })
	w := &wire{tables: plane.Tables, tunnel: device.Index, far: map[netip.Addr]*underlay.Conn{}, nhrp: make(chan string, 1)}
	check(t, plane.AttachTunnel(device.Index, false))
	check(t, plane.AttachUnderlay(out.Index))
	check(t, w.tables.SetTunnel(tables.Tunnel{IfIndex: device.Index, UnderlayIfIndex: out.Index, Local: local, Key: key, HasKey: true, MTU: 1400}))
	conn := must(underlay.Open(underlay.Config{Local: local, Device: "w0"}))(t)

	config := Config{Tunnel: device.Index, Header: header, MTU: 1400, Queues: []*Queue{NewQueue(device.Queues[0])}, Conn: conn, Tables: w.tables,
		NHRP: func(from netip.Addr, b []byte) { w.nhrp <- from.String() + " " + string(b) }}
	for _, c := range change {
		if c != nil {
			c(&config)
		}
	}
	w.pump = New(config)
	receiver := NewReceiver(conn, w.tables)
	receiver.Add(w.pump)
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.pump.RunQueue(config.Queues[0]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the pump ended: %v", err)
		}
	})
	running.Go(func() {
		if err := receiver.Run(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("the receiver ended: %v", err)
		}
	})
	t.Cleanup(func() {
		check(t, device.Queues[0].SetReadDeadline(time.Unix(1, 0)))
		check(t, conn.Close())
		running.Wait()
		check(t, device.Close())
	})
	netnstest.In(t, pid, func() {
		for _, a := range []netip.Addr{peer1, peer2} {
			if c, err := underlay.Open(underlay.Config{Local: a}); err == nil {
				w.far[a] = c
			}
		}
		w.raw, _ = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	})
	t.Cleanup(func() {
		for _, c := range w.far {
			_ = c.Close()
		}
		_ = unix.Close(w.raw)
	})
	return w
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *wire) admit(t *testing.T, nbma netip.Addr, nextHop string) tables.PeerID {
	t.Helper()
	hop := netip.MustParseAddr(nextHop)
	id := must(w.tables.Admit(w.tunnel, tables.Endpoint{NBMA: nbma}, hop, 0))(t)
	check(t, w.tables.Bind(w.tunnel, hop, id))
	return id
}

// drops gives "reason×packets" of what was dropped.
func (w *wire) drops(t *testing.T) string {
	t.Helper()
	var out []string
	for _, d := range must(w.tables.Drops())(t) {
		out = append(out, d.Reason.String())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// arrives gives the next inner packet at the far end.
func (w *wire) arrives(t *testing.T, at netip.Addr) inner {
	t.Helper()
	c := w.far[at]
	check(t, c.File().SetReadDeadline(time.Now().Add(5*time.Second)))
	got := must(c.Read(make([]byte, underlay.MaxPacket)))(t)
	if got.Source != local || got.Key != key {
		t.Fatalf("got %+v", got)
	}
	p, ok := parseInner(got.Payload)
	if !ok || got.Protocol != p.greProtocol() || !p.six() && fold(sum(0, p.b[:p.header])) != 0xffff {
		t.Fatalf("not a good inner packet: %x", got.Payload)
	}
	return p
}

// udp4 is a UDP datagram in IPv4, without a UDP checksum.
func udp4(from, to string, port uint16, data []byte) []byte {
	b := append([]byte{0x45, 0, 0, 0, 0, 9, 0, 0, 64, protocolUDP, 0, 0}, netip.MustParseAddr(from).AsSlice()...)
	b = append(b, netip.MustParseAddr(to).AsSlice()...)
	length := udpHeader + len(data)
	b = append(b, 0, 9, byte(port>>8), byte(port), byte(length>>8), byte(length), 0, 0)
	p := inner{append(b, data...), ipHeader}
	p.seal()
	return p.b
}

func listen(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	c := must(net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))))(t)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	return c
}

// sendFragments sends GRE to the tunnel in two outer fragments.
func (w *wire) sendFragments(t *testing.T, from netip.Addr, payload []byte) {
	t.Helper()
	gre := append([]byte{0x20, 0, 8, 0, 0, 0, 0, key}, payload...)
	const cut = 400
	for i, part := range [][]byte{gre[:cut], gre[cut:]} {
		outer := append([]byte{0x45, 1, 0, 0, 0, 5, 0, 0, 64, unix.IPPROTO_GRE, 0, 0}, from.AsSlice()...)
		outer = append(outer, local.AsSlice()...)
		if i == 0 {
			outer[6] = flagMF >> 8
		} else {
			outer[7] = cut / 8
		}
		check(t, unix.Sendto(w.raw, append(outer, part...), 0, &unix.SockaddrInet4{Addr: local.As4()}))
	}
}
