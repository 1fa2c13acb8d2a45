// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

// A narrowNet is what narrowWay has the addresses of.
type narrowNet struct {
	here, near, far, host string // of this namespace, of the router's two ends, of the host
	length                int    // of their prefixes
	address               string // what else ip address add takes
	forward               string
}

var (
	narrow4 = narrowNet{"192.0.2.1", "192.0.2.254", "198.51.100.254", "198.51.100.2", 24, "", "net.ipv4.ip_forward"}
	narrow6 = narrowNet{"2001:db8:1::1", "2001:db8:1::fe", "2001:db8:2::fe", "2001:db8:2::2", 64, "nodad", "net.ipv6.conf.all.forwarding"}
)

// narrowWay enters a namespace from which a router leads to a host by a narrower
// link, and gives the pid of the host's.
//
//	this namespace   router          a host
//	w0 here ──────── w0 near
//	                 w1 far ──────── w0 host (MTU 1300)
func narrowWay(t *testing.T, n narrowNet) (hostPID string) {
	t.Helper()
	netnstest.Enter(t)
	router, routerPID := netnstest.Other(t)
	host, hostPID := netnstest.Other(t)
	here := func(command string) string { return netnstest.Run(t, command) }
	address := func(run func(string) string, address, device string) {
		run(fmt.Sprintf("ip address add %s/%d dev %s %s", address, n.length, device, n.address))
	}
	here("ip link add w0 type veth peer name w0 netns " + routerPID)
	here("ip link add w1 netns " + routerPID + " type veth peer name w0 netns " + hostPID)
	address(here, n.here, "w0")
	here("ip link set w0 up")
	address(router, n.near, "w0")
	address(router, n.far, "w1")
	router("ip link set w0 up")
	router("ip link set w1 mtu 1300 up")
	router("sysctl -qw " + n.forward + "=1")
	address(host, n.host, "w0")
	host("ip link set w0 mtu 1300 up")
	host("ip route add default via " + n.far)
	here("ip route add default via " + n.near)
	for place, run := range map[string]func(string) string{n.here: here, n.near: router, n.far: router, n.host: host} {
		netnstest.Eventually(t, "the route to "+place, func() bool {
			return strings.Contains(run("ip route show table local")+run("ip -6 route show table local"), place)
		})
	}
	return hostPID
}

// TestWhatOthersSentIsTooBigForTheWay: the packet is not of the socket, as those that BPF
// sends are not. The socket hears of it, where only its mark leads there too.
func TestWhatOthersSentIsTooBigForTheWay(t *testing.T) {
	for name, mark := range map[string]uint32{"without a mark": 0, "with a mark": 100} {
		t.Run(name, func(t *testing.T) {
			narrowWay(t, narrow4)
			if mark != 0 {
				netnstest.Run(t, "ip route del default via 192.0.2.254")
				netnstest.Run(t, "ip route add default via 192.0.2.254 table 100")
				netnstest.Run(t, "ip rule add fwmark 100 lookup 100")
			}
			from, to := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
			c := conn(t, Config{Local: from, Device: "w0", Mark: mark})
			ready := func() bool { mtu, err := c.PathMTU(to); return err == nil && mtu == 1300 }
			if ready() {
				t.Fatal("the path is known before anything was sent")
			}
			sendRaw(t, from, to, mark, append([]byte{0x20, 0, 8, 0, 0, 0, 0, 42}, make([]byte, 1400)...))
			netnstest.Eventually(t, "the kernel knows", ready)
			// The error waits for whoever uses the socket next: it is not this packet's.
			if err := c.Send(netip.MustParseAddr("192.0.2.254"), Header{}, 0, []byte("fits")); err != nil {
				t.Errorf("what fits is not sent: %v", err)
			}
			_, err := receive(t, c)
			var n *Narrow
			if want := (Narrow{Header{0x0800, 42, true}, to, netip.MustParseAddr("192.0.2.254"), 1300}); !errors.As(err, &n) || *n != want {
				t.Errorf("got %v, want %v", err, &want)
			}
			if err := c.Send(to, Header{}, 0, make([]byte, 1277)); !errors.Is(err, ErrTooBig) {
				t.Errorf("what does not fit: %v", err)
			}
			if err := c.Send(to, Header{}, 0, make([]byte, 1276)); err != nil {
				t.Errorf("what just fits: %v", err)
			}
		})
	}
}

// sendRaw sends GRE with DF by a socket of its own.
func sendRaw(t *testing.T, from, to netip.Addr, mark uint32, gre []byte) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		t.Fatal(err)
	}
	b := append([]byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, unix.IPPROTO_GRE, 0, 0}, from.AsSlice()...)
	b = append(append(b, to.AsSlice()...), gre...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if err := unix.Sendto(s, b, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		t.Fatal(err)
	}
}
