// SPDX-License-Identifier: Apache-2.0

package pump

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

// An exception is an outer packet that BPF leaves to the slow path: with a router
// alert, or in fragments.
type exception struct {
	from netip.Addr
	tos  uint8
	gre  []byte // header and what is inside
}

// withAlert sends it as one packet with an IP option.
func (w *wire) withAlert(t *testing.T, e exception) {
	t.Helper()
	b := append([]byte{0x46, e.tos, 0, 0, 0, 5, 0, 0, 64, unix.IPPROTO_GRE, 0, 0}, e.from.AsSlice()...)
	b = append(append(b, local.AsSlice()...), 148, 4, 0, 0)
	check(t, unix.Sendto(w.raw, append(b, e.gre...), 0, &unix.SockaddrInet4{Addr: local.As4()}))
}

// greWith is a header with the tunnel's key and a packet behind it.
func greWith(flags, protocol uint16, inside []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = binary.BigEndian.AppendUint16(b, protocol)
	return append(binary.BigEndian.AppendUint32(b, key), inside...)
}

const ipv4InGRE = 0x0800

// dropCases are what the slow path drops, each on a real TUN between real wires.
func dropCases() []struct {
	name   string
	reason tables.Reason
	config func(*Config)
	do     func(t *testing.T, w *wire)
} {
	good := udp4("10.0.0.1", "10.0.0.11", 5000, make([]byte, 100))
	arriving := func(e exception) func(t *testing.T, w *wire) {
		return func(t *testing.T, w *wire) {
			w.admit(t, peer1, "10.0.0.1")
			w.withAlert(t, e)
		}
	}
	leaving := func(to string, data []byte) func(t *testing.T, w *wire) {
		return func(t *testing.T, w *wire) {
			netnstest.Run(t, "ip route add 224.0.0.0/4 dev dmvpn0")
			c := must(net.Dial("udp4", to))(t)
			t.Cleanup(func() { _ = c.Close() })
			must(c.Write(data))(t)
		}
	}
	return []struct {
		name   string
		reason tables.Reason
		config func(*Config)
		do     func(t *testing.T, w *wire)
	}{
		{"a GRE header that is cut", tables.DropTruncated, nil, arriving(exception{peer1, 0, []byte{0x30, 0, 8, 0, 0, 0, 0, key}})},
		{"a reserved bit", tables.DropGREReserved, nil, arriving(exception{peer1, 0, greWith(0x2400, ipv4InGRE, good)})},
		{"routing", tables.DropGRERouting, nil, arriving(exception{peer1, 0, greWith(0x6000, ipv4InGRE, good)})},
		{"version 1", tables.DropGREVersion, nil, arriving(exception{peer1, 0, greWith(0x2001, ipv4InGRE, good)})},
		{"data of someone unknown", tables.DropUnknownPeer, nil, arriving(exception{peer2, 0, greWith(0x2000, ipv4InGRE, good)})},
		{"GRE in clear on a protected tunnel", tables.DropCleartext, func(c *Config) { c.Protected = true },
			arriving(exception{peer1, 0, greWith(0x2000, ipv4InGRE, good)})},
		{"GRE carries Ethernet", tables.DropInnerProtocol, nil, arriving(exception{peer1, 0, greWith(0x2000, 0x6558, good)})},
		{"an inner length above the outer one", tables.DropInnerHeader, nil, arriving(exception{peer1, 0, greWith(0x2000, ipv4InGRE, good[:len(good)-1])})},
		{"outer CE over a packet that does not know ECN", tables.DropECN, nil, arriving(exception{peer1, 3, greWith(0x2000, ipv4InGRE, good)})},
		{"no next hop and no hub", tables.DropNoNextHop, nil, leaving("10.0.0.77:5001", []byte("hello"))},
		{"multicast that nobody gets", tables.DropMulticast, nil, leaving("224.0.0.5:5001", []byte("hello"))},
		{"multicast to a peer that went meanwhile", tables.DropPeerDown, func(c *Config) { c.Multicast = func(bool) []tables.PeerID { return []tables.PeerID{77} } },
			leaving("224.0.0.5:5001", []byte("hello"))},
		{"more multicast than is sent", tables.DropMulticastRate, func(c *Config) { toEverybody(c); c.MulticastRate = 1 }, func(t *testing.T, w *wire) {
			w.admit(t, peer1, "10.0.0.1")
			for range 20 {
				w.multicastOnce(t)
			}
		}},
		{"the underlay device is down", tables.DropSlowPath, toEverybody, func(t *testing.T, w *wire) {
			w.admit(t, peer1, "10.0.0.1")
			netnstest.Run(t, "ip link set w0 down")
			w.multicastOnce(t)
		}},
		{"above the peer's MTU and not to be cut", tables.DropTooBig, nil, func(t *testing.T, w *wire) {
			check(t, w.tables.Describe(w.admit(t, peer1, "10.0.0.1"), netip.Addr{}, 1000))
			must(pmtu(t, unix.IP_PMTUDISC_DO).Write(make([]byte, 1200)))(t)
		}},
	}
}

// multicastOnce sends a datagram to every peer.
func (w *wire) multicastOnce(t *testing.T) {
	t.Helper()
	netnstest.Run(t, "ip route replace 224.0.0.0/4 dev dmvpn0")
	c := must(net.Dial("udp4", "224.0.0.5:5001"))(t)
	defer c.Close()
	must(c.Write([]byte("hello")))(t)
}

func TestDropsOfTheSlowPath(t *testing.T) {
	for _, c := range dropCases() {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, c.config)
			c.do(t, w)
			netnstest.Eventually(t, c.reason.String(), func() bool { return w.drops(t) == c.reason.String() })
		})
	}
}

// TestEveryDropReasonHasItsCase: whatever the sources count, a case above shows.
func TestEveryDropReasonHasItsCase(t *testing.T) {
	files := must(filepath.Glob("*.go"))(t)
	files = append(slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") }), "../underlay/gre.go")
	named := map[string]bool{}
	for _, f := range files {
		for _, m := range regexp.MustCompile(`tables\.Drop(\w+)`).FindAllSubmatch(must(os.ReadFile(f))(t), -1) {
			named[strings.ToLower(string(m[1]))] = true
		}
	}
	// What BPF says in the tag is counted by its name.
	named["nonexthop"] = true
	delete(named, "none")
	for _, c := range dropCases() {
		delete(named, strings.ReplaceAll(c.reason.String(), "-", ""))
	}
	for _, c := range secureDropCases {
		delete(named, strings.ReplaceAll(c.reason.String(), "-", ""))
	}
	for name := range named {
		t.Errorf("%s has no case", name)
	}
}
