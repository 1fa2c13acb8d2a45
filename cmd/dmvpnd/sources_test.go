// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"
)

// TestAVerdictEndsWithWhatItStandsOn: with the peer, whose id another one gets, and with
// any change while it was being passed.
func TestAVerdictEndsWithWhatItStandsOn(t *testing.T) {
	var c sources
	k := sourceKey{7, netip.MustParseAddr("10.10.2.5")}
	_, _, changes := c.known(k)
	if !c.keep(k, false, changes) || c.keep(k, false, changes) {
		t.Error("the first verdict against a peer, and it alone, is worth a line")
	}
	if verdict, ok, _ := c.known(k); !ok || verdict {
		t.Error("not kept")
	}
	c.gone(k.peer)
	if _, ok, _ := c.known(k); ok {
		t.Error("kept though the peer is gone")
	}
	_, _, changes = c.known(k)
	c.changed()
	if !c.keep(k, false, changes) {
		t.Error("another peer with that id is not worth a line")
	}
	if _, ok, _ := c.known(k); ok {
		t.Error("kept though something changed meanwhile")
	}
}
