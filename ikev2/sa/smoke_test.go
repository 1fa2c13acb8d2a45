// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

type plane struct {
	t    *testing.T
	name string
	next uint32
	live map[uint32]*Child
	cur  uint32
}

func (p *plane) Reserve() (uint32, error) { p.next++; return p.next, nil }
func (p *plane) Release(spi uint32)       {}
func (p *plane) Install(c *Child) error {
	if p.live[c.Inbound] != nil {
		return errors.New("twice")
	}
	k := *c
	k.In, k.Out = clone(c.In), clone(c.Out)
	p.live[c.Inbound] = &k
	p.t.Logf("%s install %d->%d", p.name, c.Inbound, c.Outbound)
	return nil
}
func (p *plane) Activate(i uint32)                          { p.cur = i; p.t.Logf("%s activate %d", p.name, i) }
func (p *plane) Retire(i uint32)                            { p.t.Logf("%s retire %d", p.name, i) }
func (p *plane) Remove(i uint32)                            { delete(p.live, i); p.t.Logf("%s remove %d", p.name, i) }
func (p *plane) Received(uint32) time.Time                  { return time.Time{} }
func (p *plane) Move(i uint32, l, r netip.AddrPort, e bool) {}

func TestSmoke(t *testing.T) {
	for _, ike := range []string{"", "aes256-sha256-modp2048", "chacha20poly1305-prfsha512-ecp384"} {
		t.Run(ike, func(t *testing.T) { smoke(t, ike) })
	}
}

func smoke(t *testing.T, ike string) {
	now := time.Unix(1e9, 0)
	var ms [2]*Machine
	var planes [2]*plane
	addrs := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:500"), netip.MustParseAddrPort("192.0.2.2:500")}
	for i := range ms {
		id, _ := auth.ParseIdentity(fmt.Sprintf("peer%d.example", i))
		all, _ := auth.ParsePattern("*")
		c := &Connection{Name: "x", Local: id, SharedKeys: auth.SharedKeys{{Peer: all, Key: []byte("secret key")}}}
		if ike != "" {
			var err error
			if c.IKE, err = proposal.Parse(wire.ProtocolIKE, ike); err != nil {
				t.Fatal(err)
			}
			c.ESP, _ = proposal.Parse(wire.ProtocolESP, "aes128gcm16-x25519")
		}
		c.SetDefaults()
		planes[i] = &plane{t: t, name: fmt.Sprint(i), next: 256 + uint32(i)*1000, live: map[uint32]*Child{}}
		ms[i] = New(now, Config{Connections: []*Connection{c}, Random: rand.Reader, Installer: planes[i], Instance: [8]byte{byte(i + 1)}, CrashSecret: []byte("x"),
			Trace: func(netip.Addr) bool { return true }})
	}
	type pkt struct {
		to int
		d  *Datagram
	}
	var queue []pkt
	handle := func(i int, in Input) {
		for _, a := range ms[i].Handle(now, in) {
			switch a := a.(type) {
			case *Send:
				queue = append(queue, pkt{1 - i, &Datagram{Local: a.Remote, Remote: a.Local, Data: a.Data}})
			case *Trace:
				if a.Out {
					t.Logf("%d> %s", i, a.Message)
				}
			case *Report:
				t.Logf("%d: %+v", i, a)
			default:
				t.Logf("%d: %T %+v", i, a, a)
			}
		}
	}
	run := func() {
		for len(queue) > 0 {
			p := queue[0]
			queue = queue[1:]
			handle(p.to, p.d)
			state, err := ms[p.to].Export(now)
			if err != nil {
				t.Fatal(err)
			}
			if ms[p.to], err = Import(now, ms[p.to].config, state); err != nil {
				t.Fatal(err)
			}
		}
	}
	handle(0, &Connect{Connection: "x", Local: addrs[0], Remote: addrs[1]})
	run()
	check := func(want int) {
		t.Helper()
		for i := range ms {
			if n := len(planes[i].live); n != want {
				t.Errorf("%d has %d children, want %d", i, n, want)
			}
			for _, c := range planes[i].live {
				o := planes[1-i].live[c.Outbound]
				if o == nil || string(o.In.Encryption) != string(c.Out.Encryption) || string(o.Out.Encryption) != string(c.In.Encryption) {
					t.Errorf("keys differ")
				}
			}
		}
	}
	check(1)
	for round := range 4 {
		who := round % 2
		info := ms[who].Infos(now)
		t.Logf("--- child rekey by %d", who)
		handle(who, &Rekey{Child: info[0].Children[0].Inbound})
		run()
		now = now.Add(10 * time.Second)
		handle(0, &Elapsed{})
		handle(1, &Elapsed{})
		run()
		check(1)
		t.Logf("--- IKE rekey by %d", who)
		handle(who, &Rekey{ID: ms[who].Infos(now)[0].ID})
		run()
		check(1)
		for i := range ms {
			if n := len(ms[i].Infos(now)); n != 1 {
				t.Errorf("%d has %d IKE SAs", i, n)
			}
		}
	}
	// Both rekey at once.
	for i := range ms {
		handle(i, &Rekey{Child: ms[i].Infos(now)[0].Children[0].Inbound})
	}
	run()
	now = now.Add(11 * time.Second)
	handle(0, &Elapsed{})
	handle(1, &Elapsed{})
	run()
	check(1)
	for i := range ms {
		handle(i, &Rekey{ID: ms[i].Infos(now)[0].ID})
	}
	run()
	check(1)
	for i := range ms {
		if n := len(ms[i].Infos(now)); n != 1 {
			t.Errorf("%d has %d IKE SAs: %+v", i, n, ms[i].Infos(now))
		}
	}
	handle(0, &Disconnect{Connection: "x", Remote: addrs[1]})
	run()
	check(0)
}
