// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"dmvpn/cmd/internal/control"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd/engine"
)

// source answers the control API from the running daemon.
type source struct {
	daemon *daemon
	control.IKESource
}

// Stop implements control.Source.
func (s *source) Stop(ctx context.Context) error { return s.ask(ctx, request{}) }

// Teardown implements control.Source.
func (s *source) Teardown(ctx context.Context, release bool) error {
	return s.ask(ctx, request{teardown: true, release: release})
}

func (s *source) ask(ctx context.Context, r request) error {
	r.answer = make(chan error, 1)
	select {
	case s.daemon.asked <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status implements control.Source.
func (s *source) Status(ctx context.Context) (control.Status, error) {
	d := s.daemon
	out := control.Status{
		Instance: d.config.Daemon.Instance, Version: version(), PID: os.Getpid(), Started: d.started,
		Config: d.config.File, BPFFS: d.config.Daemon.BPFFS, Tunnels: []control.Tunnel{},
	}
	for _, t := range d.tunnels {
		snapshot, err := t.snapshot(ctx)
		if err != nil {
			return out, err
		}
		out.Tunnels = append(out.Tunnels, t.status(snapshot))
	}
	return out, nil
}

func (t *tunnel) status(snapshot engine.Snapshot) control.Tunnel {
	c := t.config
	t.mu.Lock()
	u := t.underlay
	problems := slices.Collect(maps.Values(t.problems))
	t.mu.Unlock()
	slices.Sort(problems)
	out := control.Tunnel{
		Name: c.Name, IfIndex: t.device.Index, Address: c.Addresses[0], Addresses: c.Addresses, NBMA: u.Address, NBMA6: u.Address6,
		Underlay: control.Underlay{Device: c.Underlay.Device, Mark: u.Mark, VRF: u.VRF},
		VRF:      c.VRF, Table: t.table.ID,
		Protection: "none", MTU: t.mtu, Redirect: c.Redirect, Shortcut: c.Shortcut, Carrier: carrier(c.Name),
		Peers: len(t.peers()), Shortcuts: len(snapshot.Shortcuts), NHS: len(snapshot.Servers), Queues: t.queues.status(), Overflows: overflows(c.Name), Problems: problems,
	}
	if c.IfState {
		out.IfState = "nhrp"
	}
	if c.HasKey {
		key := c.Key
		out.Key = &key
	}
	for _, b := range snapshot.Bindings {
		if b.Prefix.IsSingleIP() {
			out.Registered++
		}
	}
	for _, n := range snapshot.Servers {
		if answers(n.State) {
			out.NHSUp++
		}
	}
	return out
}

// carrier asks the kernel whether the device has one: the holder keeps it.
func carrier(device string) bool {
	link, err := netlink.LinkByName(device)
	return err == nil && link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}

// overflows asks the kernel how many packets found their queue full.
func overflows(device string) uint64 {
	if link, err := netlink.LinkByName(device); err == nil && link.Attrs().Statistics != nil {
		return link.Attrs().Statistics.TxDropped
	}
	return 0
}

// peers gives the tunnel's peers, lowest id first.
func (t *tunnel) peers() []tables.Peer {
	return slices.DeleteFunc(t.daemon.plane.Tables.Peers(), func(p tables.Peer) bool { return p.Tunnel != t.device.Index })
}

// Stats implements control.Source.
func (s *source) Stats(ctx context.Context) (control.Stats, error) {
	out := control.Stats{Tunnels: []control.TunnelStats{}}
	for _, t := range s.daemon.tunnels {
		snapshot, err := t.snapshot(ctx)
		if err != nil {
			return out, err
		}
		st := control.TunnelStats{Tunnel: t.config.Name, NHRP: maps.Clone(snapshot.Counters), Peers: []control.PeerStats{}}
		if st.NHRP == nil {
			st.NHRP = map[string]uint64{}
		}
		c := t.counters()
		for name, n := range map[string]uint64{
			"daemon-inputs": c.Received, "daemon-inputs-dropped": c.QueueDropped, "daemon-packets-sent": c.Sent,
			"daemon-sends-failed": c.SendFailed, "daemon-actions-failed": c.Failed, "daemon-saves": c.Saves,
		} {
			st.NHRP[name] = n
		}
		for _, p := range t.peers() {
			traffic, err := t.traffic(p.ID)
			if err != nil {
				return out, err
			}
			st.Peers = append(st.Peers, control.PeerStats{ID: uint32(p.ID), NBMA: p.Endpoint.NBMA, Protocol: p.Protocol, Traffic: traffic})
			add(&st.Data, traffic)
		}
		out.Tunnels = append(out.Tunnels, st)
	}
	k, err := s.daemon.ike.IKE(ctx)
	out.IKE = k.Counters
	return out, err
}

func (t *tunnel) traffic(id tables.PeerID) (control.Traffic, error) {
	s, err := t.daemon.plane.Tables.Stats(id)
	return control.Traffic{
		RxPackets: s.RxPackets, RxBytes: s.RxBytes, RxLast: s.RxLast,
		TxPackets: s.TxPackets, TxBytes: s.TxBytes, TxLast: s.TxLast,
	}, err
}

func add(sum *control.Traffic, t control.Traffic) {
	sum.RxPackets += t.RxPackets
	sum.RxBytes += t.RxBytes
	sum.TxPackets += t.TxPackets
	sum.TxBytes += t.TxBytes
	if t.RxLast.After(sum.RxLast) {
		sum.RxLast = t.RxLast
	}
	if t.TxLast.After(sum.TxLast) {
		sum.TxLast = t.TxLast
	}
}

// Drops implements control.Source.
func (s *source) Drops(context.Context) ([]control.Drop, error) {
	drops, err := s.daemon.plane.Tables.Drops()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, t := range s.daemon.tunnels {
		names[t.device.Index] = t.config.Name
	}
	out := make([]control.Drop, 0, len(drops))
	for _, d := range drops {
		line := control.Drop{Peer: uint32(d.Peer), Reason: d.Reason.String(), Number: uint32(d.Reason), Packets: d.Packets, Bytes: d.Bytes}
		if p, ok := s.daemon.plane.Tables.Peer(d.Peer); ok && d.Peer != 0 {
			line.Tunnel, line.NBMA, line.Protocol = names[p.Tunnel], p.Endpoint.NBMA, p.Protocol
		}
		out = append(out, line)
	}
	return out, nil
}

// all gathers what each tunnel says.
func all[T any](ctx context.Context, d *daemon, of func(*tunnel, engine.Snapshot) ([]T, error)) ([]T, error) {
	out := []T{}
	for _, t := range d.tunnels {
		snapshot, err := t.snapshot(ctx)
		if err != nil {
			return nil, err
		}
		list, err := of(t, snapshot)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// nextHops gives the next hops that lead to each peer of the tunnel.
func (t *tunnel) nextHops() map[tables.PeerID][]netip.Addr {
	out := map[tables.PeerID][]netip.Addr{}
	for _, n := range t.daemon.plane.Tables.NextHops() {
		if n.Tunnel == t.device.Index {
			out[n.Peer] = append(out[n.Peer], n.Address)
		}
	}
	return out
}
