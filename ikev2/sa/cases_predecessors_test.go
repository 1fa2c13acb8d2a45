// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"testing"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// TestAPeerThatRekeysAndDeletesNothing loses the oldest of its IKE SAs, and keeps the one
// in use with its Child SA.
func TestAPeerThatRekeysAndDeletesNothing(t *testing.T) {
	const rekeys = 100
	p := pair.New(1, pair.Policy{IKE: "aes128gcm16-prfsha256-x25519"})
	for i := range p.Ends { // without tokens nothing but deletions is INFORMATIONAL
		p.Ends[i].Config.CrashSecret = nil
		p.Ends[i].Machine = sa.New(p.Now, p.Ends[i].Config)
	}
	p.Connect()
	p.Run()
	newest := func(end int) sa.Info {
		all := p.Ends[end].Machine.Infos(p.Now)
		return all[len(all)-1]
	}
	child := newest(1).Children[0].Inbound
	first := newest(1).ID
	for range rekeys {
		p.Input(0, &sa.Rekey{ID: newest(0).ID})
		for m, ok := p.Take(); ok; m, ok = p.Take() {
			if x, err := wire.Parse(m.Data); err != nil || x.Exchange != wire.Informational {
				p.Input(m.To, &m.Datagram)
			}
		}
	}
	all := p.Ends[1].Machine.Infos(p.Now)
	if len(all) > 6 {
		t.Errorf("it has %d IKE SAs", len(all))
	}
	if n := newest(1).ID - first; n < rekeys {
		t.Errorf("it was rekeyed %d times", n)
	}
	if i := newest(1); i.SPIi != newest(0).SPIi || i.State != "established" || len(i.Children) != 1 || i.Children[0].Inbound != child {
		t.Errorf("the one in use is %+v", i)
	}
	if c := p.Ends[1].Machine.Counters(); c.Established != 1 {
		t.Errorf("%d are established", c.Established)
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}
