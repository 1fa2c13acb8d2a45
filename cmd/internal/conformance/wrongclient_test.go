// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wrongClients are what clients do wrong, one thing each, and the rows that have to say so.
var wrongClients = []struct{ rows, fault string }{
	{"", ""}, // and a client that does nothing wrong
	{"HD-01", "takes version 2"},
	{"HD-02", "takes any checksum"},
	{"HD-05", "fills SNAP"},
	{"HD-07", "sets a flag that is unused"},
	{"HD-07", "fills the unused field of an entry"},
	{"HD-07", "registers with a code"},
	{"HD-08", "takes type 99 for a question"},
	{"HD-09", "sends hop count 0"},
	{"HD-09", "sends hop count 1"},
	{"HD-12", "sends NHRP inside of IP as well"},
	{"CM-01 CM-02 RR-05 AU-02", "repeats with a new id"}, // who repeats it has not taken the answer: by this the others see
	{"CM-02", "takes replies to another NBMA address"},
	{"CM-03", "has one id for all registrations with a server"},
	{"RQ-01", "asks anew at each indication"},
	{"RQ-03", "asks in another's name"},
	{"RQ-04", "repeats questions at one pace"},
	{"RQ-04", "asks once"},
	{"RQ-05", "asks with D"},
	{"RQ-05", "asks without Q"},
	{"RQ-08", "asks with a holding time and without S"},
	{"RQ-09", "asks with two entries"},
	{"RQ-12", "answers for multicast"},
	{"RP-02", "answers without A"},
	{"RP-08", "answers for more than it has"},
	{"RP-08", "answers for the host alone"},
	{"RP-10", "answers with a next hop that is another"},
	{"RP-11", "says nothing to an unsolicited reply"},
	{"RP-12", "changes the source in an answer"},
	{"RP-13", "asks on after a refusal"},
	{"RP-15", "takes an answer for half the world"},
	{"RG-01", "registers at nobody's address"},
	{"RG-07", "registers its network along with what is unique"},
	{"RG-15", "renews late"},
	{"RG-17", "repeats registrations at one pace"},
	{"RR-03", "takes code 77 for success"},
	{"RR-04", "purges what is another's"},
	{"RR-04", "tries again soon after code 14"},
	{"RR-05", "takes replies of any id"},
	{"RR-05", "takes replies to another"},
	{"PU-02", "answers a purge with N"},
	{"PU-02 PU-07", "answers no purge"},
	{"PU-07", "changes the entries of a purge"},
	{"PU-07", "answers a purge as its own"},
	{"PU-08", "asks without A for what was purged"},
	{"ER-02", "answers errors with errors"},
	{"ER-08", "takes any error for one about its question"},
	{"ER-08", "passes errors over"},
	{"ER-11", "registers at once after an error"},
	{"EX-01", "registers with octets behind the end mark"},
	{"EX-05", "leaves out what it does not know"},
	{"EX-06", "takes compulsory extensions that it does not know"},
	{"EX-08", "sets u"},
	{"EX-08", "has a Responder Address that is not compulsory"},
	{"EX-08", "has a compulsory extension of a vendor"},
	{"EX-09", "adds an extension to an answer"},
	{"RC-01", "fills the Responder Address of a request"},
	{"RC-07", "enters itself in its own forward record"},
	{"RC-07", "enters itself in its own reverse record"},
	{"RC-08", "enters itself in a record that it is to leave"},
	{"RC-08", "does not say who answers"},
	{"AU-02", "takes any password"},
	{"AU-04", "has its password without the type"},
	{"AU-04", "registers without its password"},
	{"CA-06", "answers for what it was told"},
	{"NA-01", "has the NAT flag without the extension"},
	{"NA-01", "has the NAT extension without the flag"},
	{"NA-01", "enters itself in the NAT extension"},
	{"TI-02", "wants the packet's source in an indication"},
	{"TI-06", "answers indications about nothing"},
	{"TI-06", "answers indications that it cannot read"},
	{"TI-07", "takes indications from strangers"},
	{"TI-08", "takes indications about others' packets"},
	{"TI-09", "asks again for what it knows"},
	{"SC-07", "lets an answer hide its own network"},
	{"HU-01", "counts ids for each server"},
	{"SE-02", "takes answers of any id from anywhere"},
	{"SE-07", "answers its own registration"},
	{"SE-08", "ends at an address family that it does not know"},
}

// TestEveryCaseOfAClientCanFail: there is a fault for each.
func TestEveryCaseOfAClientCanFail(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range wrongClients {
		for id := range strings.FieldsSeq(x.rows) {
			seen[id] = true
		}
	}
	for _, c := range (&Options{Role: NHC}).Chosen() {
		if !seen[c.ID] {
			t.Errorf("no client is wrong in %s", c.ID)
		}
	}
}

// TestAWrongClientIsFoundOut by the rows that its fault is of, and by no other. Suite and client share a wire in
// memory, in virtual time: nothing depends on how fast this host is.
//
//	suite 198.51.100.1 – .3 ── client 203.0.113.1
func TestAWrongClientIsFoundOut(t *testing.T) {
	for _, x := range wrongClients {
		t.Run(x.fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { foundOut(t, inside4, under4, x.fault, strings.Fields(x.rows)) })
		})
	}
}

// TestAClientThatIsRightPassesInEveryFamily.
func TestAClientThatIsRightPassesInEveryFamily(t *testing.T) {
	for name, x := range map[string][2][]string{
		"IPv6 in IPv4": {inside6, under4}, "IPv4 in IPv6": {inside4, under6}, "IPv6 in IPv6": {inside6, under6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { foundOut(t, x[0], x[1], "", nil) })
		})
	}
}

// Addresses of client and servers: in the overlay the client's, its network, the stations', then a server's and what is
// routed to it, twice; on the underlay the client's, the servers' and a stranger's.
var (
	inside4 = []string{"10.0.0.200", "10.10.1.0/24", "10.0.0.64/26", "10.0.0.1/24", "10.20.1.0/24", "10.0.0.2/24", "10.20.2.0/24"}
	inside6 = []string{"fd00::c8", "fd10:0:1::/64", "fd00::8000:0:0:0/65", "fd00::1/64", "fd20:0:1::/64", "fd00::2/64", "fd20:0:2::/64"}
	under4  = []string{"203.0.113.1", "198.51.100.1", "198.51.100.2", "198.51.100.3"}
	under6  = []string{"2001:db8:1::1", "2001:db8::1", "2001:db8::2", "2001:db8::3"}
)

// foundOut tries a client, and compares the rows that fail with those that should.
func foundOut(t *testing.T, inside, under []string, fault string, want []string) {
	wire := &ether{delay: 5 * time.Millisecond}
	c := &client{
		nbma: netip.MustParseAddr(under[0]), own: netip.MustParseAddr(inside[0]), network: netip.MustParsePrefix(inside[1]),
		secret: "test1234", fault: fault,
	}
	o := Options{
		Role: NHC, Target: c.nbma, Server: netip.MustParsePrefix(inside[3]), Clients: netip.MustParsePrefix(inside[2]), Key: -1,
		Auth: c.secret, Behind: c.network, Wait: time.Second,
	}
	for i, at := range under[1:] {
		nbma := netip.MustParseAddr(at)
		if o.Local = append(o.Local, host(nbma)); 3+2*i < len(inside) {
			protocol, routed := netip.MustParsePrefix(inside[3+2*i]).Addr(), netip.MustParsePrefix(inside[4+2*i])
			o.Routed = append(o.Routed, routed)
			c.hubs = append(c.hubs, &hub{nbma: nbma, protocol: protocol, routed: routed})
		}
	}
	c.conn, _ = wire.listen(c.nbma)
	var serving sync.WaitGroup
	serving.Go(c.serve)
	defer func() { c.conn.Close(); serving.Wait() }()
	results, err := run(t.Context(), o, wire.listen, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		fails := r.Verdict == Fail || r.Verdict == Differs
		switch {
		case fails != slices.Contains(want, r.ID), fault == "" && r.Verdict != Pass:
			t.Errorf("%s: %s %s", r.ID, r.Verdict, r.Detail)
		case fails && r.Detail == "":
			t.Errorf("%s fails without a reason", r.ID)
		}
	}
}
