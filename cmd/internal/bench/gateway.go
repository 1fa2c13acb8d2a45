// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"dmvpn/cmd/internal/lab"
)

// Addresses of the packet measurement. Of each pattern there is one for a peer.
var (
	wanGateway = netip.MustParseAddr("192.0.2.254")
	wanAddress = netip.MustParseAddr("192.0.2.1")
	lanGateway = netip.MustParseAddr("10.255.0.254")

	overlayPrefix = netip.MustParsePrefix("10.0.0.1/16")
	overlay       = pattern{10, 0, 9}     // tunnel addresses, 10.0.0.0/16
	tunnelSites   = pattern{10, 64, 100}  // networks routed by the tunnel
	plainSites    = pattern{10, 128, 100} // networks routed by the wire
	lanHosts      = pattern{10, 192, 100} // behind the LAN wire
	nbma          = pattern{100, 64, 7}   // underlay addresses, 100.64.0.0/10
)

// A gateway is the machine that is measured: between a LAN wire and a WAN wire,
// whose far ends take every packet off it and drop it. Plain forwarding and the
// tunnel share the wires; the destination decides.
//
//	generator ─→ lan0 [ gateway ] wan0 ─────→ far end, drops
//	far end   ←─ lan0 [ dmvpn0  ] wan0 ←───── generator
type gateway struct {
	*lab.Node
	lan, wan       port
	lanEnd, wanEnd far
	keep           []link.Link
}

// A port is a device of the gateway.
type port struct {
	index int
	mac   net.HardwareAddr
}

// A far end of a wire counts what arrives.
type far struct {
	node   *lab.Node
	device string
}

// arrived gives how many packets have come.
func (f far) arrived() (uint64, error) {
	l, err := f.node.Net.LinkByName(f.device)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Statistics.RxPackets, nil
}

// newGateway builds the wires and the routes of plain forwarding.
func newGateway(l *lab.Lab, peers int) (*gateway, error) {
	g := &gateway{Node: l.Router("gateway")}
	lan, wan := l.Node("lan"), l.Node("wan")
	l.Wire(&lab.Wire{A: lab.End{Node: "gateway", Device: "lan0", Address: "10.255.0.1/24"}, B: lab.End{Node: "lan", Device: "eth0"}})
	l.Wire(&lab.Wire{A: lab.End{Node: "gateway", Device: "wan0", Address: wanAddress.String() + "/24"}, B: lab.End{Node: "wan", Device: "eth0"}})
	for _, n := range []string{"all", "default", "lan0", "wan0"} {
		g.Sysctl("net/ipv4/conf/"+n+"/rp_filter", "0")
		g.Sysctl("net/ipv4/conf/"+n+"/send_redirects", "0")
	}
	g.Route(lanGateway.String(), netip.PrefixFrom(lanHosts.address(0), 10).Masked().String())
	g.Route(wanGateway.String(), "default")
	if err := l.Err(); err != nil {
		return nil, err
	}
	g.lanEnd, g.wanEnd = far{lan, "eth0"}, far{wan, "eth0"}
	var err error
	if g.lan, err = g.port("lan0", lanGateway); err != nil {
		return nil, err
	}
	if g.wan, err = g.port("wan0", wanGateway); err != nil {
		return nil, err
	}
	for n := range peers {
		if err := g.AddRoute(wanGateway.String(), plainSites.network(n).String()); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// port readies a device: its next hop has a hardware address that the far end
// has not, so that the far end drops what comes as not meant for it; and it
// takes the generator's packets, for which the kernel wants an XDP program on
// a veth.
func (g *gateway) port(device string, nextHop netip.Addr) (port, error) {
	l, err := g.Net.LinkByName(device)
	if err != nil {
		return port{}, err
	}
	p := port{index: l.Attrs().Index, mac: l.Attrs().HardwareAddr}
	err = g.Net.NeighSet(&netlink.Neigh{
		LinkIndex: p.index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: nextHop.AsSlice(), HardwareAddr: net.HardwareAddr{0x02, 0, 0, 0, 0, 0x99},
	})
	if err != nil {
		return port{}, fmt.Errorf("neighbour of %s: %w", device, err)
	}
	err = g.Do(func() error {
		pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "bench_pass", Type: ebpf.XDP, License: "Dual BSD/GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
		if err != nil {
			return err
		}
		defer pass.Close()
		on, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: p.index, Flags: link.XDPDriverMode})
		if err != nil {
			return err
		}
		g.keep = append(g.keep, on)
		return nil
	})
	if err != nil {
		return port{}, fmt.Errorf("make %s take generated packets: %w", device, err)
	}
	return p, nil
}

func (g *gateway) close() error {
	var errs []error
	for _, l := range g.keep {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
