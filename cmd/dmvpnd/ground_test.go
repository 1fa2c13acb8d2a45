// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"

	"dmvpn/cmd/internal/instance"
	"dmvpn/loader"
	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
	"dmvpn/nhrpd"
)

// A ground has what an NHRP with the real tables and routes works on: a tunnel, and an underlay
// that it is on.
type ground struct {
	host        *kernel.Host
	device      *kernel.Device
	plane       *loader.Plane
	under       kernel.Underlay
	unreachable *instance.Unreachable
	state       nhrpd.State
}

// groundFor makes one with an underlay address, in a namespace of its own.
func groundFor(t *testing.T, address string) (x ground) {
	t.Helper()
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	x.host, x.device = tunnelAlone(t)
	netnstest.Run(t, "ip link add eth0 type veth peer name eth1")
	netnstest.Run(t, "ip address add "+address+" dev eth0")
	netnstest.Run(t, "ip link set eth1 up")
	netnstest.Run(t, "ip link set eth0 up")
	var err error
	x.plane, err = loader.Open(loader.Options{BPFFS: netnstest.BPFFS(t), Instance: "test"})
	try(err)
	t.Cleanup(func() { x.plane.Close() })
	x.under, err = x.host.Underlay(kernel.UnderlaySpec{Device: "eth0"})
	try(err)
	try(x.plane.Tables.SetTunnel(tables.Tunnel{IfIndex: x.device.Index, UnderlayIfIndex: x.under.Index, Local: x.under.Address, MTU: 1400}))
	dir := t.TempDir()
	x.unreachable, err = instance.OpenUnreachable(instance.PathsOf(dir, "test"), x.host)
	try(err)
	x.state, err = nhrpd.OpenState(filepath.Join(dir, "state.json"))
	try(err)
	return x
}
