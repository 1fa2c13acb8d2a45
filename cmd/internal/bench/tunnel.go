// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"dmvpn/cmd/internal/lab"
	"dmvpn/loader"
	"dmvpn/loader/kernel"
	"dmvpn/loader/tables"
)

const tunnelKey = 42

// A tunnel is our data plane on a node, filled by hand: loader's own programs,
// device, tables and routes, and no daemon.
type tunnel struct {
	node    *lab.Node
	options loader.Options
	host    *kernel.Host
	device  *kernel.Device
	plane   *loader.Plane
	local   netip.Addr
}

// newTunnel makes dmvpn0 on the node, over the underlay device.
func newTunnel(n *lab.Node, underlay string, local netip.Addr, address netip.Prefix) (*tunnel, error) {
	t := &tunnel{node: n, local: local}
	// The node's own BPF file system, as this process sees it.
	t.options = loader.Options{BPFFS: filepath.Join(filepath.Dir(n.Dir), "bpf", n.Name), Instance: "bench"}
	if err := n.Do(func() error { return t.make(underlay, address) }); err != nil {
		return nil, errors.Join(fmt.Errorf("node %s: %w", n.Name, err), t.close())
	}
	return t, nil
}

func (t *tunnel) make(underlay string, address netip.Prefix) (err error) {
	if t.host, err = kernel.Open(); err != nil {
		return err
	}
	wire, err := t.host.Underlay(kernel.UnderlaySpec{Device: underlay, Address: t.local})
	if err != nil {
		return err
	}
	if t.device, err = t.host.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{address}, MTU: 1400}); err != nil {
		return err
	}
	if t.plane, err = loader.Open(t.options); err != nil {
		return err
	}
	err = t.plane.Tables.SetTunnel(tables.Tunnel{
		IfIndex: t.device.Index, UnderlayIfIndex: wire.Index, Local: t.local,
		Key: tunnelKey, HasKey: true, Redirect: true, MSSClamp: true, MTU: 1400,
	})
	if err != nil {
		return err
	}
	if err := t.plane.AttachUnderlay(wire.Index); err != nil {
		return err
	}
	return t.plane.AttachTunnel(t.device.Index, false)
}

// peer makes an endpoint the next hop of an overlay address.
func (t *tunnel) peer(overlay, nbma netip.Addr) error {
	id, err := t.plane.Tables.Admit(t.device.Index, tables.Endpoint{NBMA: nbma}, overlay, 0)
	if err != nil {
		return err
	}
	return t.plane.Tables.Bind(t.device.Index, overlay, id)
}

// route leads a network to an overlay address, by a route such as the daemon's.
// It does not look for others of the network first: there are none.
func (t *tunnel) route(network netip.Prefix, via netip.Addr) error {
	err := t.node.Net.RouteAdd(&netlink.Route{
		LinkIndex: t.device.Index, Protocol: kernel.Protocol, Flags: int(netlink.FLAG_ONLINK),
		Dst: &net.IPNet{IP: network.Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), 32)},
		Gw:  via.AsSlice(),
	})
	if err != nil {
		return fmt.Errorf("route %v via %v: %w", network, via, err)
	}
	return nil
}

// counted sums what the programs have counted for all peers.
func (t *tunnel) counted() (sum tables.Stats, err error) {
	for _, p := range t.plane.Tables.Peers() {
		s, err := t.plane.Tables.Stats(p.ID)
		if err != nil {
			return sum, err
		}
		sum.RxPackets += s.RxPackets
		sum.RxBytes += s.RxBytes
		sum.TxPackets += s.TxPackets
		sum.TxBytes += s.TxBytes
	}
	return sum, nil
}

// programs opens the two programs by their pins.
func (t *tunnel) programs(underlay string) (encap, decap *ebpf.Program, err error) {
	devices := filepath.Join(t.options.BPFFS, "dmvpn", t.options.Instance, "dev")
	if encap, err = ebpf.LoadPinnedProgram(filepath.Join(devices, "dmvpn0", "dmvpn_encap"), nil); err != nil {
		return nil, nil, err
	}
	if decap, err = ebpf.LoadPinnedProgram(filepath.Join(devices, underlay, "dmvpn_decap"), nil); err != nil {
		return nil, nil, errors.Join(err, encap.Close())
	}
	return encap, decap, nil
}

// drops words what the programs dropped, "" if nothing.
func (t *tunnel) drops() (string, error) {
	list, err := t.plane.Tables.Drops()
	if err != nil {
		return "", err
	}
	byReason := map[tables.Reason]uint64{}
	for _, d := range list {
		byReason[d.Reason] += d.Packets
	}
	said := ""
	for reason, packets := range byReason {
		said += fmt.Sprintf(" %v %d", reason, packets)
	}
	return said, nil
}

// close removes the data plane.
func (t *tunnel) close() error {
	var errs []error
	if t.plane != nil {
		errs = append(errs, t.plane.Close())
	}
	if t.device != nil {
		errs = append(errs, t.device.Close())
	}
	errs = append(errs, t.node.Do(func() error { return loader.Teardown(t.options) }))
	if t.host != nil {
		t.host.Close()
	}
	return errors.Join(errs...)
}
