// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
)

// Tunnel is one mGRE cloud as the programs see it.
type Tunnel struct {
	IfIndex         int        // of the tunnel device
	UnderlayIfIndex int        // where outer packets leave
	Local           netip.Addr // outer source, and outer destination of what is received; IPv4
	Local6          netip.Addr // the same of IPv6; one of the two may be invalid
	Key             uint32     // GRE key, RFC 2890
	HasKey          bool
	Redirect        bool       // raise redirect events
	Protected       bool       // data leaves by Go and ESP
	MSSClamp        bool       // clamp TCP's MSS to the MTU
	VRF             bool       // the device is in a VRF; see loader.Plane.AttachTunnel
	Mark            uint32     // of outer packets
	MTU             int        // of the tunnel device
	Fallback        PeerID     // takes what is unresolved of inner IPv4; 0: nobody; read only, see SetFallback
	Fallback6       PeerID     // the same of inner IPv6
	Broadcast       netip.Addr // of the tunnel's own IPv4 network; invalid: none
	UnderlayTable   int        // FIB table of the underlay's VRF; 0: the rules of the main one
}

// keys are those that the tunnel is found by, one for each address.
func (u Tunnel) keys() (all []tunnelKey) {
	for _, a := range []netip.Addr{u.Local, u.Local6} {
		if !a.IsValid() {
			continue
		}
		k := tunnelKey{Local: toAddress(a)}
		if u.HasKey {
			k.Key, k.HasKey = u.Key, 1
		}
		all = append(all, k)
	}
	return all
}

func (u Tunnel) value() tunnelValue {
	v := tunnelValue{
		Local: toAddress(u.Local), Local6: toAddress(u.Local6), IfIndex: uint32(u.IfIndex), UnderlayIfIndex: uint32(u.UnderlayIfIndex),
		Mark: u.Mark, MTU: uint32(u.MTU), FallbackPeer: uint32(u.Fallback), UnderlayTable: uint32(u.UnderlayTable),
		Fallback6Peer: uint32(u.Fallback6),
	}
	for _, f := range []struct {
		set  bool
		flag uint32
	}{{u.HasKey, flagKey}, {u.Redirect, flagRedirect}, {u.Protected, flagProtected}, {u.MSSClamp, flagMSSClamp}, {u.VRF, flagVRF}} {
		if f.set {
			v.Flags |= f.flag
		}
	}
	if u.HasKey {
		v.Key = u.Key
	}
	if u.Broadcast.Is4() {
		v.Broadcast = u.Broadcast.As4()
	}
	return v
}

func (v tunnelValue) tunnel() Tunnel {
	u := Tunnel{
		IfIndex: int(v.IfIndex), UnderlayIfIndex: int(v.UnderlayIfIndex), Local: fromAddress(v.Local), Local6: fromAddress(v.Local6),
		Key: v.Key, HasKey: v.Flags&flagKey != 0, Redirect: v.Flags&flagRedirect != 0,
		Protected: v.Flags&flagProtected != 0, MSSClamp: v.Flags&flagMSSClamp != 0, VRF: v.Flags&flagVRF != 0,
		Mark: v.Mark, MTU: int(v.MTU), Fallback: PeerID(v.FallbackPeer), UnderlayTable: int(v.UnderlayTable),
		Fallback6: PeerID(v.Fallback6Peer),
	}
	if v.Broadcast != [4]byte{} {
		u.Broadcast = netip.AddrFrom4(v.Broadcast)
	}
	return u
}

// SetTunnel makes the tunnel or changes it: the addresses, key, flags, all of it.
// An entry for an address or key that the device had before goes. A local
// address and key that another tunnel device holds is an error. The fallbacks
// are not looked at: SetFallback alone changes them, so that a daemon that starts
// again does not take them away from running traffic.
func (t *Tables) SetTunnel(u Tunnel) error {
	if u.IfIndex <= 0 {
		return fmt.Errorf("tables: tunnel has no device index")
	}
	switch {
	case !u.Local.IsValid() && !u.Local6.IsValid():
		return fmt.Errorf("tables: tunnel %d has no local address", u.IfIndex)
	case u.Local.IsValid() && !u.Local.Is4() || u.Local6.IsValid() && !u.Local6.Is6():
		return fmt.Errorf("tables: tunnel %d: local addresses %s and %s are not one of IPv4 and one of IPv6", u.IfIndex, u.Local, u.Local6)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, value := u.keys(), u.value()
	for _, key := range keys {
		var there tunnelValue
		switch err := t.tunnel.Lookup(key, &there); {
		case err == nil && there.IfIndex != value.IfIndex:
			return fmt.Errorf("tables: local address %s with this key belongs to the tunnel device with index %d: give the tunnels different keys",
				fromAddress(key.Local), there.IfIndex)
		case err != nil && !errors.Is(err, ebpf.ErrKeyNotExist):
			return fmt.Errorf("tables: read %s: %w", MapTunnel, err)
		}
	}
	var before tunnelValue
	switch err := t.device.Lookup(value.IfIndex, &before); {
	case err == nil:
		value.FallbackPeer, value.Fallback6Peer = before.FallbackPeer, before.Fallback6Peer
	case errors.Is(err, ebpf.ErrKeyNotExist):
		value.FallbackPeer, value.Fallback6Peer = 0, 0
	default:
		return fmt.Errorf("tables: read %s: %w", MapDevice, err)
	}
	// Receive first: a peer that answers at once finds us listening.
	for _, key := range keys {
		if err := t.tunnel.Put(key, value); err != nil {
			return fmt.Errorf("tables: write %s: %w", MapTunnel, err)
		}
	}
	if err := t.device.Put(value.IfIndex, value); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapDevice, err)
	}
	return t.dropTunnelKeys(value.IfIndex, keys...)
}

// Holds says whether a map dmvpn_tunnel, of whatever instance, has an entry for the
// tunnel's key and a local address, and gives that.
func Holds(m *ebpf.Map, u Tunnel) (netip.Addr, bool) {
	var there tunnelValue
	for _, key := range u.keys() {
		if m.Lookup(key, &there) == nil {
			return fromAddress(key.Local), true
		}
	}
	return netip.Addr{}, false
}

// dropTunnelKeys removes every entry of dmvpn_tunnel of the device but keep.
func (t *Tables) dropTunnelKeys(ifindex uint32, keep ...tunnelKey) error {
	var key tunnelKey
	var value tunnelValue
	var old []tunnelKey
	it := t.tunnel.Iterate()
	for it.Next(&key, &value) {
		if value.IfIndex == ifindex && !slices.Contains(keep, key) {
			old = append(old, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("tables: read %s: %w", MapTunnel, err)
	}
	for _, key := range old {
		if err := absent(t.tunnel.Delete(key)); err != nil {
			return fmt.Errorf("tables: delete from %s: %w", MapTunnel, err)
		}
	}
	return nil
}

// SetFallback names the peer that takes what is unresolved on the tunnel, of inner IPv4
// or, with six, of IPv6; 0: nobody. The peer must be a peer of this tunnel.
func (t *Tables) SetFallback(ifindex int, six bool, id PeerID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id != 0 {
		if peer, ok := t.peers[id]; !ok || peer.TunnelIfIndex != uint32(ifindex) {
			return fmt.Errorf("tables: fallback of tunnel %d: peer %d: %w", ifindex, id, ErrUnknown)
		}
	}
	return t.setFallback(uint32(ifindex), six, id)
}

func (t *Tables) setFallback(ifindex uint32, six bool, id PeerID) error {
	var value tunnelValue
	if err := t.device.Lookup(ifindex, &value); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			err = ErrUnknown
		}
		return fmt.Errorf("tables: tunnel %d: %w", ifindex, err)
	}
	fallback := &value.FallbackPeer
	if six {
		fallback = &value.Fallback6Peer
	}
	if *fallback == uint32(id) {
		return nil
	}
	*fallback = uint32(id)
	if err := t.device.Put(ifindex, value); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapDevice, err)
	}
	for _, key := range value.tunnel().keys() {
		if err := t.tunnel.Put(key, value); err != nil {
			return fmt.Errorf("tables: write %s: %w", MapTunnel, err)
		}
	}
	return nil
}

// DeleteTunnel removes the tunnel of the device with its next hops and peers.
// A tunnel that is not there is no error.
func (t *Tables) DeleteTunnel(ifindex int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	index := uint32(ifindex)
	if err := t.dropTunnelKeys(index); err != nil {
		return err
	}
	if err := absent(t.device.Delete(index)); err != nil {
		return fmt.Errorf("tables: delete from %s: %w", MapDevice, err)
	}
	for hop := range t.hops {
		if hop.TunnelIfIndex == index {
			if err := absent(t.nextHop.Delete(hop)); err != nil {
				return fmt.Errorf("tables: delete from %s: %w", MapNextHop, err)
			}
			delete(t.hops, hop)
		}
	}
	for _, id := range t.sortedIDs() {
		if t.peers[id].TunnelIfIndex == index {
			if err := t.remove(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tunnels gives every tunnel.
func (t *Tables) Tunnels() ([]Tunnel, error) {
	var out []Tunnel
	var ifindex uint32
	var value tunnelValue
	it := t.device.Iterate()
	for it.Next(&ifindex, &value) {
		out = append(out, value.tunnel())
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("tables: read %s: %w", MapDevice, err)
	}
	return out, nil
}
