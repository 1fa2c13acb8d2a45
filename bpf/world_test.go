// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// world is a router with a tunnel, and the wire of its underlay:
//
//	      here                                  there
//	dmvpn0  TUN 10.0.0.9/24
//	u0      198.51.100.1/24 ────── veth ────── v0   no addresses, read and
//	        gateway .254                            written by AF_PACKET
type world struct {
	here, there netns.NsHandle
	tunnel      int    // index of dmvpn0
	underlay    int    // index of u0
	queue       int    // the descriptor of dmvpn0, where Go reads
	wire        int    // AF_PACKET at v0
	inside      int    // AF_PACKET at dmvpn0
	local6      string // outer source of IPv6; "": none
	raw         int    // the raw GRE socket here
	linkTo      []byte // Ethernet header of frames to u0
	maps        map[string]*ebpf.Map
	real        *programs // at the devices
	test        *programs // with a link header, for BPF_PROG_TEST_RUN
}

// programs is one load of the object.
type programs struct{ encap, decap, filter *ebpf.Program }

// newWorld makes it all, with the programs attached, and removes it with the test.
func newWorld(t testing.TB) *world {
	t.Helper()
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	w := &world{}
	var err error
	if w.there, err = netns.New(); err != nil {
		t.Fatalf("network namespace (are you root?): %v", err)
	}
	if w.here, err = netns.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.here.Close(); w.there.Close() })
	quiet(t)
	w.queue = openTUN(t, "dmvpn0")
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "u0", MTU: 1500}, PeerName: "v0",
		PeerNamespace: netlink.NsFd(w.there), PeerMTU: 1500}
	must(t, netlink.LinkAdd(veth))
	w.tunnel = up(t, "dmvpn0", "10.0.0.9/24", 1400)
	w.underlay = up(t, "u0", "198.51.100.1/24", 1500)
	u0, err := netlink.LinkByName("u0")
	must(t, err)
	w.linkTo = append(append([]byte(u0.Attrs().HardwareAddr), 2, 0, 0, 0, 0, 2), 8, 0)
	w.load(t)
	w.addPeers(t)
	w.atOtherEnd(t, func(v0 int) { w.wire = listen(t, v0) })
	ready(t, "u0")
	w.inside = listen(t, w.tunnel)
	if w.raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.raw) })
	return w
}

// enter takes the calling goroutine, for good, into the router's namespace.
func (w *world) enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	must(t, netns.Set(w.here))
}

// atOtherEnd calls do in the other namespace with the index of v0.
func (w *world) atOtherEnd(t testing.TB, do func(v0 int)) {
	t.Helper()
	must(t, netns.Set(w.there))
	defer func() { must(t, netns.Set(w.here)) }()
	for _, name := range []string{"lo", "v0"} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
	}
	ready(t, "v0")
	link, err := netlink.LinkByName("v0")
	must(t, err)
	do(link.Attrs().Index)
}

// load loads the object twice over the same maps: as it runs, and with a link
// header in front of the tunnel's packets, as BPF_PROG_TEST_RUN has it.
func (w *world) load(t testing.TB) {
	t.Helper()
	spec := spec(t)
	real, err := ebpf.NewCollection(spec)
	must(t, err)
	t.Cleanup(real.Close)
	w.maps, w.real = real.Maps, &programs{real.Programs["dmvpn_encap"], real.Programs["dmvpn_decap"], real.Programs["dmvpn_filter"]}
	must(t, spec.Variables["tunnel_l2_len"].Set(uint32(14)))
	shared := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if name[0] != '.' {
			shared[name] = real.Maps[name]
		}
	}
	test, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	must(t, err)
	t.Cleanup(test.Close)
	w.test = &programs{test.Programs["dmvpn_encap"], test.Programs["dmvpn_decap"], test.Programs["dmvpn_filter"]}
	attach(t, w.tunnel, netlink.HANDLE_MIN_EGRESS, w.real.encap)
	attach(t, w.underlay, netlink.HANDLE_MIN_INGRESS, w.real.decap)
}

// spec gives the object's specification, its maps not pinned.
func spec(t testing.TB) *ebpf.CollectionSpec {
	t.Helper()
	s, err := LoadDmvpn()
	must(t, err)
	for _, m := range s.Maps {
		m.Pinning = ebpf.PinNone
	}
	return s
}

// attach puts a program at a device by clsact, which every kernel has.
func attach(t testing.TB, index int, parent uint32, p *ebpf.Program) {
	t.Helper()
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	must(t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs:  netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:           p.FD(),
		Name:         "dmvpn",
		DirectAction: true,
	}))
}

// openTUN makes a TUN as the loader does and gives its descriptor.
func openTUN(t testing.TB, name string) int { return openTunTap(t, name, unix.IFF_TUN) }

// openTAP makes a device whose packets have a link header.
func openTAP(t testing.TB, name string) int { return openTunTap(t, name, unix.IFF_TAP) }

func openTunTap(t testing.TB, name string, kind uint16) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	req, err := unix.NewIfreq(name)
	must(t, err)
	req.SetUint16(kind | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
	must(t, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6))
	return fd
}

// up gives a device address and MTU, sets it up and returns its index.
func up(t testing.TB, name, address string, mtu int) int {
	t.Helper()
	link, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetMTU(link, mtu))
	if address != "" {
		a, err := netlink.ParseAddr(address)
		must(t, err)
		must(t, netlink.AddrAdd(link, a))
	}
	must(t, netlink.LinkSetUp(link))
	return link.Attrs().Index
}

// ready waits until the kernel has noticed that a wire is plugged in at both
// ends: packets are lost before.
func ready(t testing.TB, name string) {
	t.Helper()
	for range 400 {
		link, err := netlink.LinkByName(name)
		must(t, err)
		if link.Attrs().OperState == netlink.OperUp {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s is not up after 2 s", name)
}

// route adds one: to a prefix, via a gateway if there is one, by a device.
func route(t testing.TB, to, via string, index int) {
	t.Helper()
	r := &netlink.Route{Dst: prefix(t, to), LinkIndex: index}
	if via != "" {
		r.Gw, r.Flags = net.ParseIP(via), int(netlink.FLAG_ONLINK)
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	must(t, netlink.RouteAdd(r))
}

// routeMTU adds a route with an MTU of its own, locked: the kernel heeds others
// in its own packets only.
func routeMTU(t testing.TB, to, via string, index, mtu int) {
	t.Helper()
	must(t, netlink.RouteAdd(&netlink.Route{Dst: prefix(t, to), LinkIndex: index, Gw: net.ParseIP(via), MTU: mtu, MTULock: true}))
}

// forbid adds a route that lets nothing by: unreachable, blackhole.
func forbid(t testing.TB, to string, kind int) {
	t.Helper()
	must(t, netlink.RouteAdd(&netlink.Route{Dst: prefix(t, to), Type: kind}))
}

// neighbour writes a permanent entry.
func neighbour(t testing.TB, index int, address, mac string) {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	must(t, err)
	must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: index, IP: net.ParseIP(address), HardwareAddr: hw, State: netlink.NUD_PERMANENT}))
}

func prefix(t testing.TB, s string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	must(t, err)
	return n
}

// listen opens AF_PACKET on a device of this namespace: packets come with their
// link header, if the device has one.
func listen(t testing.TB, index int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}))
	return fd
}

func htons(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// addr gives the 16 octets of the maps.
func addr(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func must(t testing.TB, err error) {
	t.Helper()
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) {
		t.Fatalf("%+v", refused)
	}
	if err != nil {
		t.Fatal(err)
	}
}
