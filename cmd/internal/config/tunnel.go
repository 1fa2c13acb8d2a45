// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Bounds of what a tunnel may say.
const (
	maxDeviceName     = 15 // IFNAMSIZ less its NUL
	minMTU            = 576
	minMTU6           = 1280 // RFC 8200, section 5
	maxMTU            = 65507
	maxAuthentication = 8                   // octets; Cisco's extension has no room for more
	maxGroup          = 64                  // octets
	minHoldingTime    = time.Second         // a third of it is the renewal
	maxHoldingTime    = 65535 * time.Second // CIE holding time, 16 bits
	minIdle           = time.Second
	maxIdle           = 24 * time.Hour
	minProbe          = 50 * time.Millisecond
	maxProbe          = time.Minute
	maxProbeIdle      = time.Hour
	maxFallback       = time.Hour
	defaultFallback   = 75 * time.Second // the longest pause between two tries to register, and some
	maxCluster        = 255
	maxConnections    = 255
)

func readTunnels(root *table, ipsec IPsec, keys bool) []Tunnel {
	const remedy = "write [tunnel.NAME] and its keys below, such as [tunnel.dmvpn0]"
	all, ok := root.sub("tunnel", remedy)
	if ok && len(all.values) == 0 || !ok && len(root.doc.errors) == 0 {
		root.doc.fail(root.doc.places.keys["tunnel"], "tunnel", "there is no tunnel", remedy)
	}
	var tunnels []Tunnel
	for _, name := range slices.Sorted(maps.Keys(all.values)) {
		if t, ok := all.sub(name, remedy); ok {
			tunnels = append(tunnels, readTunnel(name, t, ipsec, keys))
		}
	}
	return tunnels
}

// readTunnel reads one; keys says that ipsec has what [ipsec] says, and not only
// defaults.
func readTunnel(name string, t *table, ipsec IPsec, keys bool) Tunnel {
	u := Tunnel{Name: name}
	if !deviceName(name) {
		t.doc.fail(t.doc.places.keys[t.path], t.path, fmt.Sprintf("%q cannot name a device", name),
			fmt.Sprintf("use at most %d letters, digits, '-', '_' or '.'", maxDeviceName))
	}
	u.Addresses = t.tunnelAddresses()
	if key, ok := t.number("key", 0, math.MaxUint32); ok {
		u.Key, u.HasKey = uint32(key), true
	}
	u.Underlay = t.underlay()
	u.VRF, u.Table = t.apart()
	if mtu, ok := t.number("mtu", minMTU, maxMTU); ok {
		u.MTU = int(mtu)
		if u.Address(netip.IPv6Unspecified()).IsValid() && mtu < minMTU6 {
			t.doc.failValue(join(t.path, "mtu"), fmt.Sprintf("%d is too little for IPv6", mtu), fmt.Sprintf("write at least %d, or leave IPv6 out of address", minMTU6))
		}
	}
	u.Authentication = t.authentication()
	u.Networks = t.prefixes("networks")
	u.Summaries = t.prefixes("summary-map")
	_, hasServer := t.values["nhs"]
	u.Redirect = t.truth("redirect", !hasServer)
	u.Shortcut = t.truth("shortcut", hasServer)
	if t.truth("server-only", false) {
		if t.values["shortcut"] == true {
			t.doc.failValue(join(t.path, "server-only"), "shortcut is true, which asks for addresses", "leave one of the two out")
		}
		u.Shortcut = false
	}
	u.HoldingTime = t.duration("holding-time", minHoldingTime, maxHoldingTime, DefaultHoldingTime)
	if u.HoldingTime%time.Second != 0 {
		t.doc.failValue(join(t.path, "holding-time"), fmt.Sprintf("%v is not whole seconds", u.HoldingTime), "NHRP counts in seconds, write such as \"90s\"")
	}
	u.Idle = t.duration("idle", minIdle, maxIdle, DefaultIdle)
	u.IdleBytes = DefaultIdleBytes
	if n, ok := t.number("idle-bytes", 0, math.MaxInt64); ok {
		u.IdleBytes = uint64(n)
	}
	u.Probe = t.period("probe", minProbe, maxProbe, DefaultProbe)
	u.ProbeIdle = t.period("probe-idle", minProbe, maxProbeIdle, DefaultProbeIdle)
	u.Group = t.group()
	u.Unique = t.truth("unique", false)
	u.MSSClamp = t.truth("mss-clamp", true)
	u.Multicast = t.multicast(u.Addresses)
	u.IfState = t.ifState(hasServer)
	if u.IPsec = readIPsec(t, ipsec); u.IPsec == nil && keys && t.values["protection"] != "none" {
		u.IPsec = &ipsec
	}
	u.Protected = t.protection(u.IPsec)
	for _, server := range t.subs("nhs", "write [["+t.path+".nhs]] and its keys below") {
		u.NHS = append(u.NHS, readNHS(server))
	}
	if n, ok := t.number("max-connections", 0, maxConnections); ok {
		u.MaxConnections = int(n)
	}
	u.Fallback = t.duration("fallback", 0, maxFallback, defaultFallback)
	for _, x := range t.subs("map", "write [["+t.path+".map]] and its keys below") {
		u.Maps = append(u.Maps, readMap(x))
	}
	u.Underlay.settleFamilies(u.NHS, u.Maps)
	u.Authorize = t.authorizations(u.Protected)
	u.Guard = t.guard(u.Protected)
	t.outerPackets(u)
	t.done()
	return u
}

// protection is IPsec unless the file says otherwise; it needs keys.
func (t *table) protection(keys *IPsec) bool {
	const remedy = `write "ipsec", or "none" to send in clear over networks that you trust`
	keysRemedy := "give it keys in [" + t.path + `.ipsec], such as psk-file, or write protection = "none" to send in clear over networks that you trust`
	if _, ok := t.values["protection"]; !ok {
		if keys == nil {
			t.failMissing("ipsec", keysRemedy)
		}
		return true
	}
	switch s := t.text("protection", remedy); s {
	case "none", "":
		return false
	case "ipsec":
		if keys == nil {
			t.failMissing("ipsec", keysRemedy)
		}
		return true
	default:
		t.doc.failValue(join(t.path, "protection"), fmt.Sprintf("%q is not offered", s), remedy)
		return false
	}
}

// guard gives what only this tunnel may lead to.
func (t *table) guard(protected bool) []netip.Prefix {
	path := join(t.path, "guard")
	if _, ok := t.values["guard"]; ok && !protected {
		t.doc.failValue(path, "nothing is kept from going in clear on a tunnel in clear", "leave it out, or protect the tunnel")
	}
	list := t.prefixes("guard")
	for i, p := range list {
		if p.Bits() == 0 {
			t.doc.failValue(fmt.Sprintf("%s[%d]", path, i), "the tunnel's own outer packets are in it", "write the prefixes of all sites")
		}
	}
	return list
}

// ifState reads "nhrp", which wants a server to follow.
func (t *table) ifState(hasServer bool) bool {
	const remedy = `write "nhrp", or leave it out`
	s := t.text("if-state", remedy)
	switch {
	case s == "":
	case s != "nhrp":
		t.doc.failValue(join(t.path, "if-state"), fmt.Sprintf("%q is not offered", s), remedy)
	case !hasServer:
		t.doc.failValue(join(t.path, "if-state"), "there is no server whose answers the carrier could follow", "leave it out on a hub, or add [["+t.path+".nhs]]")
	}
	return s == "nhrp"
}

func (t *table) authentication() string {
	remedy := fmt.Sprintf("write 1 to %d ASCII characters, the same on every node", maxAuthentication)
	s := t.text("authentication", remedy)
	path := join(t.path, "authentication")
	if len(s) > maxAuthentication {
		t.doc.failValue(path, fmt.Sprintf("%d octets are too long", len(s)), remedy)
	} else if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.doc.failValue(path, "has a character that is not printable ASCII", remedy)
	}
	return s
}

func (t *table) group() string {
	remedy := fmt.Sprintf("write 1 to %d letters, digits and signs", maxGroup)
	s := t.text("group", remedy)
	if len(s) > maxGroup {
		t.doc.failValue(join(t.path, "group"), fmt.Sprintf("%d octets are too long", len(s)), remedy)
	} else if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		t.doc.failValue(join(t.path, "group"), "has a character that cannot be shown", remedy)
	}
	return s
}
