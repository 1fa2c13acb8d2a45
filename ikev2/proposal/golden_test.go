// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

var configured = regexp.MustCompile(`(?m)^\s*proposals = (\S+)$`)

// policyOf is what swanctl.conf of one side wants for IKE.
func policyOf(t *testing.T, conf string) []proposal.Proposal {
	t.Helper()
	line := configured.FindStringSubmatch(conf)
	if line == nil {
		return nil // strongSwan's defaults
	}
	all, err := proposal.Parse(ike, line[1])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func octets(t *testing.T, sa *wire.SA) []byte {
	t.Helper()
	b, err := (&wire.Message{Payloads: []wire.Payload{sa}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStrongSwansConfigurationMakesStrongSwansPackets: the text of swanctl.conf,
// read by us, offers the same octets, answers the offer with the same octets,
// and takes the answer.
func TestStrongSwansConfigurationMakesStrongSwansPackets(t *testing.T) {
	captures, err := iketest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	offers, answers := 0, 0
	for _, c := range captures {
		initiator := "spoke1"
		if strings.HasPrefix(c.Name, "nat") {
			initiator = "spoke2"
		}
		var offered *wire.SA
		var sent uint16
		retried := false
		for _, d := range c.Datagrams {
			m, err := wire.Parse(d.Payload)
			if err != nil || m.Exchange != wire.IKESAInit {
				continue
			}
			sa, _ := wire.Find[*wire.SA](m.Payloads)
			if ke, ok := wire.Find[*wire.KeyExchange](m.Payloads); ok && !m.Response {
				sent = ke.Method
			}
			mine, theirs := policyOf(t, c.Swanctl[initiator]), policyOf(t, c.Swanctl["hub"])
			switch {
			case !m.Response:
				offered = sa
				// The second half of noprop had another configuration; after
				// INVALID_KE_PAYLOAD strongSwan puts the wanted method in front.
				if mine != nil && c.Name != "noprop" && !retried {
					offers++
					if want := proposal.Offer(mine, nil, true); !bytes.Equal(octets(t, want), octets(t, sa)) {
						t.Errorf("%s: offered %s, we %s", c.Name, sa, want)
					}
				}
			case wire.FindNotify(m.Payloads, wire.Cookie) != nil || theirs == nil || c.Name == "noprop":
			case sa == nil:
				retried = true
				n := wire.FindNotify(m.Payloads, wire.InvalidKEPayload)
				wanted, err := n.KeyExchangeMethod()
				if err != nil {
					t.Fatal(err)
				}
				choice, err := proposal.Select(theirs, offered, sent, init0)
				if err != nil || choice.KeyExchange != wanted {
					t.Errorf("%s: wanted %d, we %+v, %v", c.Name, wanted, choice, err)
				}
				if err := proposal.Retry(mine, sent, wanted); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			default:
				answers++
				choice, err := proposal.Select(theirs, offered, sent, init0)
				if err != nil || !bytes.Equal(octets(t, choice.Answer(ike, nil)), octets(t, sa)) {
					t.Errorf("%s: answered %s, we %+v, %v", c.Name, sa, choice, err)
				}
				if mine != nil {
					if _, err := proposal.Check(mine, sa, init0); err != nil {
						t.Errorf("%s: %v", c.Name, err)
					}
				}
			}
		}
	}
	if offers < 15 || answers < 15 {
		t.Errorf("%d offers and %d answers compared", offers, answers)
	}
}

// TestOurDefaultsGetAlongWithStrongSwans: what its defaults offer, ours accept.
func TestOurDefaultsGetAlongWithStrongSwans(t *testing.T) {
	captures, err := iketest.Captures()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range captures {
		for _, d := range c.Datagrams {
			m, err := wire.Parse(d.Payload)
			if err != nil || m.Exchange != wire.IKESAInit || m.Response {
				continue
			}
			sa, _ := wire.Find[*wire.SA](m.Payloads)
			ke, _ := wire.Find[*wire.KeyExchange](m.Payloads)
			choice, err := proposal.Select(proposal.Default(ike), sa, ke.Method, init0)
			if err != nil || choice.KeyExchange != ke.Method {
				t.Errorf("%s: %+v, %v", c.Name, choice, err)
			}
		}
	}
}
