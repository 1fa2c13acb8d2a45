// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// A moment is an end that is about to get a protected message, with what the message
// would be.
type moment struct {
	name   string
	config sa.Config
	ledger *pair.Ledger
	state  []byte
	now    time.Time
	genuine
}

// genuine is the message that the peer sent: in one or several datagrams, of which the
// ones before may have come, and what is inside of all.
type genuine struct {
	datagrams []sa.Datagram
	header    wire.Header
	first     wire.PayloadType
	text      []byte
}

// sessionPolicy has everything that can be in a conversation: an additional key exchange,
// PFS with another one, and messages that need fragments.
var sessionPolicy = pair.Policy{
	IKE: "aes128gcm16-prfsha256-x25519-ke1_mlkem768", ESP: "aes128gcm16-x25519-ke1_ecp256",
	Change: func(c *sa.Connection) { c.FragmentSize = 700 },
}

// conversation lets two ends do all that they can do with each other, each in both roles.
// step is called before each message is delivered.
func conversation(policy pair.Policy, step func(p *pair.Pair, m pair.Message, topic string)) *pair.Pair {
	p := pair.New(7, policy)
	topic := ""
	run := func() {
		for m, ok := p.Take(); ok; m, ok = p.Take() {
			step(p, m, topic)
			p.Input(m.To, &m.Datagram)
		}
	}
	do := func(what string, end int, in sa.Input) {
		topic = fmt.Sprintf("%s by %d", what, end)
		p.Input(end, in)
		run()
	}
	info := func(end int) sa.Info {
		for _, i := range p.Ends[end].Machine.Infos(p.Now) {
			if i.State == "established" && len(i.Children) > 0 {
				return i
			}
		}
		panic(topic + ": no IKE SA with a Child SA")
	}
	do("connect", 0, &sa.Connect{Connection: "tunnel", Local: p.Ends[0].Address, Remote: p.Ends[1].Address, Once: true})
	for end := range 2 {
		do("rekey of a Child SA", end, &sa.Rekey{Child: info(end).Children[0].Inbound})
		do("rekey of the IKE SA", end, &sa.Rekey{ID: info(end).ID})
		p.Now = p.Now.Add(time.Minute)
		do("liveness check", end, &sa.Elapsed{})
		p.Now = p.Now.Add(time.Minute)
		do("liveness check of the other", 1-end, &sa.Elapsed{})
		do("deletion of the Child SA", end, &sa.Terminate{Child: info(end).Children[0].Inbound})
		do("creation of a Child SA", end, &sa.Rekey{ID: p.Ends[end].Machine.Infos(p.Now)[0].ID, Create: true})
	}
	do("deletion of the IKE SA", 0, &sa.Terminate{ID: info(0).ID})
	return p
}

// moments are those of one conversation: every protected message of every exchange, at
// both ends.
var moments = sync.OnceValue(func() (all []*moment) {
	conversation(sessionPolicy, func(p *pair.Pair, m pair.Message, topic string) {
		h, _, err := wire.ParseHeader(m.Data)
		if err != nil {
			panic(err)
		}
		if h.Exchange == wire.IKESAInit {
			return
		}
		e := p.Ends[m.To]
		keys := p.Ends[1-m.To].Machine.KeysOf(h.SPIi, h.SPIr)
		if own := e.Machine.KeysOf(h.SPIi, h.SPIr); own != nil {
			keys = own // the sender of a response may have gone on to others
		}
		g := genuine{header: h, datagrams: []sa.Datagram{m.Datagram}}
		for _, o := range p.Wire {
			if other, _, err := wire.ParseHeader(o.Data); err == nil && other == h { // its further fragments
				g.datagrams = append(g.datagrams, o.Datagram)
			}
		}
		if n := fragment(m.Data); n > 1 {
			before := all[len(all)-1]
			g.first, g.text = before.first, before.text
		} else {
			for i, d := range g.datagrams {
				_, first, text, err := unseal(keys, d.Data)
				if err != nil {
					panic(fmt.Sprintf("%s: %s: %v", topic, h, err))
				}
				if i == 0 {
					g.first = first
				}
				g.text = append(g.text, text...)
			}
		}
		state, err := e.Machine.Export(p.Now)
		if err != nil {
			panic(err)
		}
		all = append(all, &moment{
			name: fmt.Sprintf("%s, %s at %d", topic, h.Exchange, m.To), config: e.Config, ledger: e.Ledger.Copy(), state: state, now: p.Now,
			genuine: g,
		})
	})
	return all
})

// fragment is the number of a fragment, 0 of what is none.
func fragment(b []byte) uint16 {
	m, err := wire.Parse(b)
	if err != nil {
		return 0
	}
	f, _ := wire.Find[*wire.Fragment](m.Payloads)
	if f == nil {
		return 0
	}
	return f.Number
}

// deliver gives the end what the peer sent.
func (o *moment) deliver(e *end) {
	e.t.Helper()
	for _, d := range o.datagrams {
		e.input(&d)
	}
}

// keys are those that the message is protected with.
func (o *moment) keys(e *end) *crypto.Keys { return e.machine.KeysOf(o.header.SPIi, o.header.SPIr) }

// end is a machine of its own at the moment.
func (o *moment) end(t testing.TB) *end {
	t.Helper()
	e := &end{t: t, now: o.now, config: o.config, ledger: o.ledger.Copy()}
	e.config.Installer = e.ledger
	e.random = pair.Dice(11)
	e.config.Random = &e.random
	e.restore(o.state)
	return e
}

// end is one machine alone.
type end struct {
	t       testing.TB
	now     time.Time
	config  sa.Config
	ledger  *pair.Ledger
	random  pair.Dice
	machine *sa.Machine
}

func (e *end) restore(state []byte) {
	e.t.Helper()
	m, err := sa.Import(e.now, e.config, state)
	if err != nil {
		e.t.Fatal(err)
	}
	e.machine = m
	e.check("import")
}

func (e *end) check(when string) {
	e.t.Helper()
	if err := e.machine.Consistent(e.ledger); err != nil {
		e.t.Fatalf("after %s: %v", when, err)
	}
	if e.ledger.Err != nil {
		e.t.Fatalf("after %s: %v", when, e.ledger.Err)
	}
}

func (e *end) input(in sa.Input) []sa.Action {
	e.t.Helper()
	actions := e.machine.Handle(e.now, in)
	e.check(fmt.Sprintf("%T", in))
	return actions
}

// reimport puts what Export and Import make of the machine in its place.
func (e *end) reimport() {
	e.t.Helper()
	state, err := e.machine.Export(e.now)
	if err != nil {
		e.t.Fatal(err)
	}
	due := e.machine.Next()
	e.restore(state)
	if !e.machine.Next().Equal(due) {
		e.t.Fatalf("due at %v, after an import at %v", due, e.machine.Next())
	}
}

// desert leaves the machine alone for so long that everything that waits for its peer
// must end, and ends the rest. Then nothing is left.
func (e *end) desert() {
	e.t.Helper()
	until := e.now.Add(10 * time.Minute)
	for n := 0; ; n++ {
		next := e.machine.Next()
		if next.IsZero() || next.After(until) {
			break
		}
		if n > 2000 {
			e.t.Fatal("timers without end")
		}
		if next.After(e.now) {
			e.now = next
		}
		e.input(&sa.Elapsed{})
	}
	if c := e.machine.Counters(); c.HalfOpen != 0 || c.Attempts != 0 {
		e.t.Fatalf("%d half-open, %d attempts after ten minutes without a peer", c.HalfOpen, c.Attempts)
	}
	e.input(&sa.Shutdown{})
	if err := e.machine.Empty(); err != nil {
		e.t.Fatal(err)
	}
	if reserved, installed := e.ledger.Count(); reserved+installed > 0 {
		e.t.Fatalf("the data plane keeps %d SPIs and %d SAs", reserved, installed)
	}
}

// TestEveryExchangeHasItsMoment: the fuzz targets know all exchanges, requests and
// responses, at both ends.
func TestEveryExchangeHasItsMoment(t *testing.T) {
	seen := map[string]int{}
	for _, o := range moments() {
		seen[fmt.Sprintf("%s, response %v, original initiator %v", o.header.Exchange, o.header.Response, o.header.Initiator)]++
		e := o.end(t)
		o.deliver(e)
		e.reimport()
		e.desert()
	}
	for _, x := range []wire.ExchangeType{wire.IKEIntermediate, wire.IKEAuth, wire.CreateChildSA, wire.IKEFollowupKE, wire.Informational} {
		for _, response := range []bool{false, true} {
			for _, initiator := range []bool{false, true} {
				if (x == wire.IKEIntermediate || x == wire.IKEAuth) && initiator == response {
					continue // there is none
				}
				if k := fmt.Sprintf("%s, response %v, original initiator %v", x, response, initiator); seen[k] == 0 {
					t.Errorf("no %s", k)
				}
			}
		}
	}
	t.Log(seen)
}
