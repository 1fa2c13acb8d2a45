// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The peers of the tables. Next hops and NBMA addresses are theirs.
const (
	hub        = 1 // 10.0.0.1  at 198.51.100.11, on the link; also the fallback
	spoke      = 2 // 10.0.0.2  at 203.0.113.2, behind the gateway
	down       = 3 // 10.0.0.3  at 198.51.100.13, disabled
	narrow     = 4 // 10.0.0.4  at 198.51.100.14, MTU 1000
	lost       = 5 // 10.0.0.5  at 192.168.77.5, where no route leads
	swallowed  = 6 // 10.0.0.6  at 192.168.66.6, which only the tunnel reaches
	forbidden  = 7 // 10.0.0.7  at 192.168.88.7, an unreachable route
	thinWire   = 8 // 10.0.0.8  at 192.168.99.8, the underlay's route has MTU 1200
	lastPeer   = 8
	local      = "198.51.100.1" // its ESP is the daemon's, raw and in UDP
	localUDP   = "198.51.100.2" // its ESP in UDP is
	localOther = "198.51.100.3" // none is
	hubNBMA    = "198.51.100.11"
	spokeNBMA  = "203.0.113.2"
	downNBMA   = "198.51.100.13"
	narrowNBMA = "198.51.100.14"
	key        = 42
)

func (w *world) plainTunnel() DmvpnTunnel {
	v := DmvpnTunnel{Ifindex: uint32(w.tunnel), UnderlayIfindex: uint32(w.underlay), Key: key,
		Flags: flagKey | flagMSSClamp, Mtu: 1400, FallbackPeer: hub}
	v.Local.Octet = addr(local)
	if w.local6 != "" {
		v.Local6.Octet = addr(w.local6)
	}
	return v
}

const (
	flagKey       = 1 << 0
	flagRedirect  = 1 << 1
	flagProtected = 1 << 2
	flagMSSClamp  = 1 << 3
	flagUp        = 1 << 0
	espUDP        = 1 << 0
	espRaw        = 1 << 1
	ourSPI        = 0xc0ffee01
)

// setTunnel makes v the only tunnel; with no device, there is none.
func (w *world) setTunnel(t testing.TB, v DmvpnTunnel) {
	t.Helper()
	var k DmvpnTunnelKey
	clearMap(t, w.maps["dmvpn_tunnel"], &k)
	var device uint32
	clearMap(t, w.maps["dmvpn_device"], &device)
	if v.Ifindex == 0 {
		return
	}
	for _, local := range []DmvpnIpAddr{v.Local, v.Local6} {
		if local != (DmvpnIpAddr{}) {
			k = DmvpnTunnelKey{Local: local, Key: v.Key, HasKey: v.Flags & flagKey}
			must(t, w.maps["dmvpn_tunnel"].Put(k, v))
		}
	}
	must(t, w.maps["dmvpn_device"].Put(uint32(w.tunnel), v))
}

// addPeers writes the peers above, the routes and the neighbours.
func (w *world) addPeers(t testing.TB) {
	t.Helper()
	for id, p := range map[uint32]struct {
		overlay, nbma string
		flags, mtu    uint32
	}{
		hub:       {"10.0.0.1", hubNBMA, flagUp, 0},
		spoke:     {"10.0.0.2", spokeNBMA, flagUp, 0},
		down:      {"10.0.0.3", downNBMA, 0, 0},
		narrow:    {"10.0.0.4", narrowNBMA, flagUp, 1000},
		lost:      {"10.0.0.5", "192.168.77.5", flagUp, 0},
		swallowed: {"10.0.0.6", "192.168.66.6", flagUp, 0},
		forbidden: {"10.0.0.7", "192.168.88.7", flagUp, 0},
		thinWire:  {"10.0.0.8", "192.168.99.8", flagUp, 0},
	} {
		v := DmvpnPeer{TunnelIfindex: uint32(w.tunnel), Flags: p.flags, Mtu: p.mtu}
		v.Nbma.Octet, v.Protocol.Octet = addr(p.nbma), addr(p.overlay)
		must(t, w.maps["dmvpn_peer"].Put(id, v))
		must(t, w.maps["dmvpn_nbma"].Put(DmvpnNbmaKey{Nbma: v.Nbma, TunnelIfindex: uint32(w.tunnel)}, id))
		must(t, w.maps["dmvpn_nexthop"].Put(DmvpnNexthopKey{Nexthop: v.Protocol, TunnelIfindex: uint32(w.tunnel)}, id))
	}
	for address, ways := range map[string]uint32{local: espUDP | espRaw, localUDP: espUDP} {
		must(t, w.maps["dmvpn_esp"].Put(addr(address), DmvpnEspLocal{TunnelIfindex: uint32(w.tunnel), Ways: ways}))
	}
	must(t, w.maps["dmvpn_spi"].Put(uint32(ourSPI), uint32(1)))
	const gateway = "198.51.100.254"
	route(t, "203.0.113.0/24", gateway, w.underlay)
	route(t, "192.168.66.0/24", "", w.tunnel)
	forbid(t, "192.168.88.0/24", unix.RTN_UNREACHABLE)
	routeMTU(t, "192.168.99.0/24", gateway, w.underlay, 1200)
	route(t, "10.10.2.0/24", "10.0.0.2", w.tunnel)
	route(t, "10.10.3.0/24", "10.0.0.1", w.tunnel)
	route(t, "10.10.9.0/24", "10.0.0.99", w.tunnel)
	forbid(t, "10.66.0.0/16", unix.RTN_UNREACHABLE)
	forbid(t, "10.10.1.0/24", unix.RTN_BLACKHOLE) // the LAN: quiet, what goes there was seen in the tunnel
	for address, mac := range map[string]string{
		gateway: "02:00:00:00:00:fe", hubNBMA: "02:00:00:00:00:0b", narrowNBMA: "02:00:00:00:00:0e",
	} {
		neighbour(t, w.underlay, address, mac)
	}
}
