// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// authorizations reads who may register what. It needs peers whose identity is proved.
func (t *table) authorizations(protected bool) (all []Authorization) {
	for _, s := range t.subs("authorize", "write [["+t.path+".authorize]], and peer below") {
		if !protected {
			t.doc.failValue(s.path, "nobody proves who he is on a tunnel in clear", "leave it out, or protect the tunnel")
		}
		all = append(all, readAuthorization(s))
	}
	return all
}

func readAuthorization(t *table) Authorization {
	if _, ok := t.values["peer"]; !ok {
		t.failMissing("peer", patternRemedy)
	}
	a := Authorization{Peer: t.text("peer", patternRemedy)}
	if a.Peer != "" {
		t.checkPattern(join(t.path, "peer"), a.Peer)
	}
	a.Certificate = t.choice("from", []string{"list", "certificate"}, "list") == "certificate"
	if _, ok := t.values["addresses"]; ok && a.Certificate {
		t.doc.failValue(join(t.path, "addresses"), "the certificate says which addresses", `leave it out, or from = "certificate"`)
	}
	a.Addresses = t.prefixesOrAddresses("addresses")
	a.Networks = t.prefixes("networks")
	t.done()
	return a
}

// checkAuthorizations refuses addresses that nobody can have.
func (d *document) checkAuthorizations(path string, t *Tunnel) {
	for i, a := range t.Authorize {
		at := fmt.Sprintf("%s.authorize[%d]", path, i)
		for j, p := range a.Addresses {
			place := fmt.Sprintf("%s.addresses[%d]", at, j)
			own := t.Address(p.Addr())
			cloud := own.Masked()
			switch {
			case !cloud.IsValid():
				d.failValue(place, fmt.Sprintf("%v is of a family that the tunnel has no address of", p), "give the tunnel an address of that family too, or leave it out")
			case !cloud.Contains(p.Addr()) || p.Bits() < cloud.Bits():
				d.failValue(place, fmt.Sprintf("%v is outside the tunnel's %v", p, cloud), "write tunnel addresses; what lies behind a peer goes in networks")
			case p == netip.PrefixFrom(own.Addr(), own.Addr().BitLen()):
				d.failValue(place, fmt.Sprintf("%v is our own address", p.Addr()), "write the peer's tunnel address")
			}
		}
		for _, before := range t.Authorize[:i] {
			if before.Peer == a.Peer {
				d.failValue(at+".peer", fmt.Sprintf("%q is named twice", a.Peer), "put all of a peer into one [["+path+".authorize]]")
			}
			if before.Peer == "*" {
				d.failValue(at+".peer", `"*" before it fits everybody`, `put the one with "*" last`)
			}
		}
	}
}
