// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// node is a router of its own: namespace, maps and programs, and tunnels by name.
type node struct {
	ns      netns.NsHandle
	maps    map[string]*ebpf.Map
	decap   *ebpf.Program
	encap   *ebpf.Program
	tunnels map[string]DmvpnTunnel
	peers   uint32
}

// newNode makes a namespace that forwards IPv4, with the programs loaded.
func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{tunnels: map[string]DmvpnTunnel{}}
	n.in(t, func() {
		var err error
		n.ns, err = netns.New()
		must(t, err)
		quiet(t)
	})
	t.Cleanup(func() { n.ns.Close() })
	c, err := ebpf.NewCollection(spec(t))
	must(t, err)
	t.Cleanup(c.Close)
	n.maps, n.encap, n.decap = c.Maps, c.Programs["dmvpn_encap"], c.Programs["dmvpn_decap"]
	return n
}

// quiet switches IPv6 off in this namespace, and forwarding on.
func quiet(t testing.TB) {
	t.Helper()
	for _, s := range []string{"ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6", "ipv4/ip_forward"} {
		if err := os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

// in calls do inside the node's namespace, on a thread of its own. do must not
// end the test by Fatal in another goroutine's name: it runs in the caller's.
func (n *node) in(t testing.TB, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Get()
	must(t, err)
	defer before.Close()
	defer func() { must(t, netns.Set(before)) }()
	if n.ns > 0 {
		must(t, netns.Set(n.ns))
	}
	do()
}

// wire joins two nodes: name@a with addressA, name@b with addressB.
func wire(t testing.TB, a *node, nameA, addressA string, b *node, nameB, addressB string) {
	t.Helper()
	a.in(t, func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns)}))
		up(t, nameA, addressA, 1500)
	})
	b.in(t, func() { up(t, nameB, addressB, 1500); ready(t, nameB) })
	a.in(t, func() { ready(t, nameA) })
}

// addTunnel makes a tunnel device over an underlay device, both with their
// program.
func (n *node) addTunnel(t testing.TB, name, address, under, local string, key uint32, flags uint32) {
	t.Helper()
	n.in(t, func() {
		openTUN(t, name)
		device := up(t, name, address, 1400)
		u, err := netlink.LinkByName(under)
		must(t, err)
		v := DmvpnTunnel{Ifindex: uint32(device), UnderlayIfindex: uint32(u.Attrs().Index), Key: key, Flags: flags, Mtu: 1400}
		v.Local.Octet = addr(local)
		must(t, n.maps["dmvpn_device"].Put(v.Ifindex, v))
		must(t, n.maps["dmvpn_tunnel"].Put(DmvpnTunnelKey{Local: v.Local, Key: key, HasKey: flags & flagKey}, v))
		attach(t, device, netlink.HANDLE_MIN_EGRESS, n.encap)
		if len(n.tunnels) == 0 {
			attach(t, u.Attrs().Index, netlink.HANDLE_MIN_INGRESS, n.decap)
		}
		n.tunnels[name] = v
	})
}

// addPeer writes a peer of a tunnel and gives its id.
func (n *node) addPeer(t testing.TB, tunnel, overlay, nbma string) uint32 {
	t.Helper()
	n.peers++
	device := n.tunnels[tunnel].Ifindex
	v := DmvpnPeer{TunnelIfindex: device, Flags: flagUp}
	v.Nbma.Octet, v.Protocol.Octet = addr(nbma), addr(overlay)
	must(t, n.maps["dmvpn_peer"].Put(n.peers, v))
	must(t, n.maps["dmvpn_nbma"].Put(DmvpnNbmaKey{Nbma: v.Nbma, TunnelIfindex: device}, n.peers))
	must(t, n.maps["dmvpn_nexthop"].Put(DmvpnNexthopKey{Nexthop: v.Protocol, TunnelIfindex: device}, n.peers))
	return n.peers
}

// via adds a route by a device of this node.
func (n *node) via(t testing.TB, to, gateway, device string) {
	t.Helper()
	n.in(t, func() {
		link, err := netlink.LinkByName(device)
		must(t, err)
		route(t, to, gateway, link.Attrs().Index)
	})
}

// checksumErrors reads the namespace's counters of TCP, UDP and IP.
func (n *node) checksumErrors(t testing.TB) (found []string) {
	t.Helper()
	n.in(t, func() {
		for _, name := range []string{"/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"} {
			raw, err := os.ReadFile(name)
			must(t, err)
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			for i := 0; i+1 < len(lines); i += 2 {
				keys, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
				for k := 1; k < len(keys); k++ {
					if (strings.Contains(keys[k], "Csum") || keys[k] == "InHdrErrors") && values[k] != "0" {
						found = append(found, keys[0]+keys[k]+" "+values[k])
					}
				}
			}
		}
	})
	return found
}

// Commands of linux/ethtool.h.
const (
	ethtoolSetTxChecksum = 0x17
	ethtoolSetGRO        = 0x2c
)

// ethtool sets a feature of a device: 0 off, 1 on.
func ethtool(t testing.TB, device string, command, value uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	request := struct {
		name [unix.IFNAMSIZ]byte
		data *[2]uint32
		rest [16]byte
	}{data: &[2]uint32{command, value}}
	copy(request.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("ethtool %s command %#x: %v", device, command, errno)
	}
}
