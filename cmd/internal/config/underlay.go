// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
)

// Underlay is where a tunnel's outer packets leave.
type Underlay struct {
	Device   string
	Address  netip.Addr // outer source of IPv4; invalid: the device's first global address
	Address6 netip.Addr // the same of IPv6
	Only     int        // 4 or 6: that family alone; 0: both
	Mark     uint32
	VRF      string
}

func (t *table) underlay() Underlay {
	const remedy = `write underlay = { device = "eth0" }`
	if _, ok := t.values["underlay"]; !ok {
		t.failMissing("underlay", remedy)
	}
	u, ok := t.sub("underlay", remedy)
	if !ok {
		return Underlay{}
	}
	var out Underlay
	if _, ok := u.values["device"]; !ok {
		u.failMissing("device", remedy)
	}
	if out.Device = u.text("device", remedy); out.Device != "" && !deviceName(out.Device) {
		u.doc.failValue(join(u.path, "device"), fmt.Sprintf("%q cannot name a device", out.Device), remedy)
	}
	u.underlayAddresses(&out)
	if n, ok := u.number("mark", 0, math.MaxUint32); ok {
		out.Mark = uint32(n)
	}
	// An empty VRF is how the main table is written.
	if v, given := u.values["vrf"]; given && v == "" {
		u.asked = append(u.asked, "vrf")
	} else if out.VRF = u.text("vrf", `write the name of a VRF device, or leave it out`); out.VRF != "" && !deviceName(out.VRF) {
		u.doc.failValue(join(u.path, "vrf"), fmt.Sprintf("%q cannot name a device", out.VRF), "write the name of a VRF device, or leave it out")
	}
	u.done()
	return out
}

// underlayAddresses reads an address, or an array of one of each family.
func (t *table) underlayAddresses(u *Underlay) {
	const remedy = `write an address of the device, such as "192.0.2.1", or one of each family, such as ["192.0.2.1", "2001:db8::1"], or leave it out`
	take := func(path, s string) {
		a := t.nbma(path, s, remedy)
		switch {
		case !a.IsValid():
		case a.Is4() && !u.Address.IsValid():
			u.Address = a
		case a.Is6() && !u.Address6.IsValid():
			u.Address6 = a
		default:
			t.doc.failValue(path, fmt.Sprintf("%v is the second one of its family", a), remedy)
		}
	}
	if _, several := t.values["address"].([]any); several {
		t.texts("address", remedy, take)
	} else if s := t.text("address", remedy); s != "" {
		take(join(t.path, "address"), s)
	}
	switch {
	case u.Address.IsValid() && !u.Address6.IsValid():
		u.Only = 4
	case u.Address6.IsValid() && !u.Address.IsValid():
		u.Only = 6
	}
}

// nbma reads an address of the underlay, of either family; invalid if it is none.
func (t *table) nbma(path, s, remedy string) netip.Addr {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		t.doc.failValue(path, fmt.Sprintf("%q is not an address", s), remedy)
	case !unicast(a):
		t.doc.failValue(path, fmt.Sprintf("%q is not a unicast address", s), remedy)
	case a.Is4In6():
		t.doc.failValue(path, fmt.Sprintf("%q is IPv4 in the form of IPv6", s), fmt.Sprintf("write %q", a.Unmap()))
	case a.IsLinkLocalUnicast():
		t.doc.failValue(path, fmt.Sprintf("%q is good on one link only", s), remedy)
	default:
		return a
	}
	return netip.Addr{}
}

// nbmaAt is nbma of a key; invalid too if it is absent.
func (t *table) nbmaAt(key, remedy string) netip.Addr {
	s := t.text(key, remedy)
	if s == "" {
		return netip.Addr{}
	}
	return t.nbma(join(t.path, key), s, remedy)
}

// settleFamilies leaves the family out that nobody is reached by: of a member whose servers
// and mapped peers are all written down with addresses of the other one.
func (u *Underlay) settleFamilies(servers []NHS, maps []Map) {
	if u.Only != 0 || u.Address.IsValid() || len(servers) == 0 {
		return
	}
	only := 0
	for _, a := range outer(servers, maps) {
		family := 4
		if a.Is6() {
			family = 6
		}
		if !a.IsValid() || only != 0 && family != only {
			return
		}
		only = family
	}
	u.Only = only
}

// outer are the underlay addresses of servers and mapped peers, invalid for a name.
func outer(servers []NHS, maps []Map) (all []netip.Addr) {
	for _, n := range servers {
		a, _ := netip.ParseAddr(n.NBMA)
		all = append(all, a)
	}
	for _, m := range maps {
		all = append(all, m.NBMA)
	}
	return all
}

// reaches says whether there is an address to send from to another one.
func (u Underlay) reaches(a netip.Addr) bool {
	return !a.IsValid() || u.Only == 0 || (u.Only == 4) == a.Is4()
}

// overlaps says whether two underlays may have an address in common.
func (u Underlay) overlaps(v Underlay) bool {
	if u.Device != v.Device {
		return false
	}
	return u.Only != 6 && v.Only != 6 && u.Address == v.Address || u.Only != 4 && v.Only != 4 && u.Address6 == v.Address6
}
