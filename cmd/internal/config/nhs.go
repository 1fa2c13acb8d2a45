// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

func readNHS(t *table) NHS {
	const remedy = `write the server's underlay address or DNS name, such as "192.0.2.1" or "hub.example.net"`
	var n NHS
	if _, ok := t.values["nbma"]; !ok {
		t.failMissing("nbma", remedy)
	}
	if n.NBMA = t.text("nbma", remedy); n.NBMA != "" {
		path := join(t.path, "nbma")
		if _, err := netip.ParseAddr(n.NBMA); err == nil {
			n.NBMA = t.nbma(path, n.NBMA, remedy).String() // in one form
		} else if !hostName(n.NBMA) {
			t.doc.failValue(path, fmt.Sprintf("%q is neither an address nor a host name", n.NBMA), remedy)
		}
	}
	n.Protocols = t.protocols()
	n.Routes = t.prefixes("routes")
	if p, ok := t.number("priority", 0, math.MaxInt32); ok {
		n.Priority = int(p)
	}
	if c, ok := t.number("cluster", 0, maxCluster); ok {
		n.Cluster = int(c)
	}
	t.done()
	return n
}

func readMap(t *table) Map {
	const protocol, nbma = `write the peer's tunnel address, such as "10.0.0.12"`, `write the peer's underlay address, such as "203.0.113.22"`
	if _, ok := t.values["protocol"]; !ok {
		t.failMissing("protocol", protocol)
	}
	if _, ok := t.values["nbma"]; !ok {
		t.failMissing("nbma", nbma)
	}
	m := Map{Protocol: t.overlayAddress("protocol", protocol), NBMA: t.nbmaAt("nbma", nbma)}
	t.done()
	return m
}

// prefixes gives an array of prefixes without host bits, none inside another.
func (t *table) prefixes(key string) []netip.Prefix {
	return t.list(key, `write such as ["10.10.1.0/24"]`, false)
}

// prefixesOrAddresses is prefixes where an address stands for itself alone.
func (t *table) prefixesOrAddresses(key string) []netip.Prefix {
	return t.list(key, `write such as ["10.0.0.11"] or ["10.0.0.64/26"]`, true)
}

func (t *table) list(key, remedy string, addresses bool) []netip.Prefix {
	var list []netip.Prefix
	t.texts(key, remedy, func(path, s string) {
		p, err := netip.ParsePrefix(s)
		if a, single := netip.ParseAddr(s); addresses && single == nil {
			p, err = a.Prefix(a.BitLen())
		}
		switch {
		case err != nil:
			t.doc.failValue(path, fmt.Sprintf("%q is not a prefix", s), remedy)
			return
		case p.Addr().Is4In6():
			t.doc.failValue(path, fmt.Sprintf("%q is IPv4 in IPv6's clothes", s), remedy)
			return
		case p != p.Masked():
			t.doc.failValue(path, fmt.Sprintf("%q has bits beyond its length", s), fmt.Sprintf("write %q", p.Masked()))
			return
		}
		for _, other := range list {
			if other.Overlaps(p) {
				t.doc.failValue(path, fmt.Sprintf("%v overlaps %v of the same list", p, other), "leave the narrower one out")
				return
			}
		}
		list = append(list, p)
	})
	return list
}

func unicast(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// deviceName says whether the kernel takes s as a device's name and we can print it.
func deviceName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > maxDeviceName {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' && r != '@'
	})
}

// hostName says whether s is a DNS name (RFC 1123, section 2.1). One whose last
// label is a number would be a misspelt address.
func hostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
