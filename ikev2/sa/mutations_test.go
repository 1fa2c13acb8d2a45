// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// mutations is how many messages of each exchange TestMutatedMessages makes: by default
// what fits into the tests; IKE_MUTATIONS=1000000 is what `make mutations` asks for.
func mutations(t *testing.T) int {
	text := os.Getenv("IKE_MUTATIONS")
	if text == "" {
		return 3000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("IKE_MUTATIONS=%q: how many messages of each exchange?", text)
	}
	return n
}

// subject is one exchange of which mutated messages are made.
type subject struct {
	exchange wire.ExchangeType
	policy   pair.Policy
	stage    string // at which it is expected
	// ready brings the session to where a request of the exchange is expected.
	ready func(f *forger)
	// genuine is what such a request has inside.
	genuine func(f *forger) []wire.Payload
}

var (
	classical = pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", ESP: "aes128gcm16-none-x25519"}
	hybrid    = pair.Policy{IKE: "aes128gcm16-prfsha256-x25519-ke1_mlkem768", ESP: "aes128gcm16-none-x25519"}
	chained   = pair.Policy{IKE: "aes128gcm16-prfsha256-x25519", ESP: "aes128gcm16-x25519-ke1_ecp256"}
)

var subjects = []subject{
	{wire.IKESAInit, hybrid, "", nil, nil},
	{wire.IKEIntermediate, hybrid, "half-open", (*forger).begin, (*forger).furtherKE},
	{wire.IKEAuth, classical, "half-open", (*forger).begin, (*forger).prove},
	{wire.CreateChildSA, classical, "established", (*forger).establish, (*forger).wish},
	{wire.IKEFollowupKE, chained, "established", (*forger).establish, (*forger).follow},
	{wire.Informational, classical, "established", (*forger).establish, (*forger).remark},
}

// TestMutatedMessages: a live responder gets mutated messages of each exchange, outside and
// inside of SK, whole and in fragments, from somebody who has the group's key. It does
// not crash, stays whole, keeps the IKE SA of a bystander, and when the strangers have
// gone its memory is what it was and nothing is half-open.
func TestMutatedMessages(t *testing.T) {
	for _, s := range subjects {
		t.Run(s.exchange.String(), func(t *testing.T) { s.run(t, mutations(t)) })
	}
}

func (s subject) run(t *testing.T, n int) {
	// A million messages take hours of the machines' time.
	s.policy.Change = func(c *sa.Connection) {
		c.Lifetimes = sa.Lifetimes{IKESoft: -1, IKEHard: -1, ChildSoft: -1, ChildHard: -1}
	}
	p := pair.New(3, s.policy)
	p.Connect()
	p.Run()
	bystander := p.Ends[1].Machine.Infos(p.Now)[0]
	e := &end{t: t, now: p.Now, config: p.Ends[1].Config, ledger: p.Ends[1].Ledger, machine: p.Ends[1].Machine}
	f := newForger(e, s.policy)
	// The bystander is heard from all the time, and no lifetime ends.
	calm := func() {
		e.now = e.now.Add(20 * time.Millisecond)
		p.Now = e.now
		e.machine.Handle(e.now, &sa.Arrived{Inbound: bystander.Children[0].Inbound, Local: p.Ends[1].Address, Remote: p.Ends[0].Address})
	}
	// quiet lets the strangers go, and everything that waits for them end.
	quiet := func() {
		f.session, f.link = session{}, nil
		for range 6000 { // two minutes
			calm()
		}
		e.ledger.Trim()
	}
	if s.stage != "" {
		s.ready(f) // what is made once
		f.end()
	}
	alone := heap()
	settle()
	// What is there after some messages is there after many.
	done := map[string]int{}
	for i := range min(n/10, 10_000) {
		if i%64 == 0 {
			e.check("the first messages") // it has a memory of its own
		}
		s.one(f, done)
		calm()
	}
	quiet()
	e.check("the first messages")
	before := heap()
	start := time.Now()
	clear(done)
	for i := range n {
		if i%64 == 0 {
			e.check(fmt.Sprintf("%d messages", i))
		}
		s.one(f, done)
		calm()
	}
	spent := time.Since(start)
	if c := e.machine.Counters(); c.HalfOpen == 0 && s.exchange != wire.CreateChildSA && s.exchange != wire.Informational && s.exchange != wire.IKEFollowupKE {
		t.Errorf("nothing was half-open: %+v", c)
	}
	quiet()
	e.check("two minutes without strangers")
	c := e.machine.Counters()
	if c.HalfOpen != 0 || c.Established != 1 || c.Children != 1 {
		t.Errorf("%d half-open, %d established, %d Child SAs are left", c.HalfOpen, c.Established, c.Children)
	}
	after := heap()
	t.Logf("%d messages in %v, %v each: %v; %+v; heap %d, then %d (%+.1f %% of %d)", n, spent.Round(time.Millisecond), spent/time.Duration(n), done, c,
		before, after, 100*float64(after-before)/float64(alone), alone)
	if after > before+alone/20 {
		t.Errorf("memory was %d octets, is %d", before, after)
	}
	// And it still serves.
	p.Input(0, &sa.Rekey{ID: p.Ends[0].Machine.Infos(p.Now)[0].ID})
	p.Run()
	if all := e.machine.Infos(e.now); len(all) == 0 || all[len(all)-1].State != "established" || all[len(all)-1].ID == bystander.ID {
		t.Errorf("the bystander's rekey made nothing: %+v", all)
	}
	runtime.KeepAlive(f)
}

func newForger(e *end, policy pair.Policy) *forger {
	d := pair.Dice(17)
	f := &forger{t: e.t, responder: e, dice: &d, local: netip.MustParseAddrPort("192.0.2.2:500"), remote: netip.MustParseAddrPort("198.51.100.7:500")}
	f.suite = crypto.Suite{Encryption: wire.EncryptionAESGCM16, KeyLength: 128, PRF: wire.PRFHMACSHA256}
	f.private = must(crypto.NewKeyExchange(wire.Curve25519, &d))
	list := must(proposal.Parse(wire.ProtocolIKE, policy.IKE))
	f.request = &wire.Message{Header: wire.Header{Exchange: wire.IKESAInit, Initiator: true}, Payloads: []wire.Payload{
		proposal.Offer(list, nil, true), &wire.KeyExchange{Method: wire.Curve25519, Data: must(f.private.Data())}, wire.Nonce(make([]byte, 32)),
		&wire.Notify{Type: wire.FragmentationSupported}, &wire.Notify{Type: wire.IntermediateSupported},
		wire.NewHashAlgorithms(wire.HashSHA256), &wire.Notify{Type: wire.NATDetectionSourceIP, Data: make([]byte, 20)},
		&wire.Notify{Type: wire.NATDetectionDestinationIP, Data: make([]byte, 20)},
	}}
	return f
}

// one sends one mutated message. A session is used as long as it lasts, up to 50 messages.
func (s subject) one(f *forger, done map[string]int) {
	if s.exchange == wire.IKESAInit {
		done["outside"]++
		b := f.fresh()
		if f.dice.Below(2) == 0 {
			if b = f.cookied(b); b == nil {
				return // it is half-open now
			}
			done["with a cookie"]++
		}
		if f.dice.Below(2) == 0 {
			first, text := rearrange(f.dice, must(wire.Parse(b)).Payloads, foreign)
			b = append(b[:wire.HeaderSize:wire.HeaderSize], text...)
			b[16] = byte(first)
		} else {
			b = mutate(f.dice, b)
		}
		if f.dice.Below(4) > 0 {
			lengths(b)
		}
		f.send(b)
		return
	}
	_, rounds, _, stage := f.responder.machine.Awaits(f.spii, f.spir)
	if stage != s.stage || f.used >= 50 || s.exchange == wire.IKEIntermediate && rounds > 0 {
		f.end()
		s.ready(f)
		done["sessions"]++
	}
	f.used++
	payloads := s.genuine(f)
	if f.next, _, _, stage = f.responder.machine.Awaits(f.spii, f.spir); stage != s.stage {
		f.t.Fatalf("the session is %s by itself", stage)
	}
	h := f.header(s.exchange)
	first, text := wire.First(payloads), must(wire.AppendInner(nil, payloads))
	if f.dice.Below(2) == 0 {
		done["outside"]++
		b := mutate(f.dice, seal(f.keys, h, first, text, 0, 0))
		if f.dice.Below(4) > 0 {
			lengths(b)
		}
		f.send(b)
		return
	}
	done["inside"]++
	if f.dice.Below(2) == 0 {
		first, text = rearrange(f.dice, payloads, foreign)
	} else {
		text = mutate(f.dice, text)
	}
	if len(text) > 1 && f.dice.Below(4) == 0 {
		done["in fragments"]++
		cut := 1 + f.dice.Below(len(text)-1)
		f.send(seal(f.keys, h, first, text[:cut], 1, 2))
		f.send(seal(f.keys, h, 0, text[cut:], 2, 2))
		return
	}
	f.send(seal(f.keys, h, first, text, 0, 0))
}

// foreign are payloads that belong elsewhere.
var foreign = []wire.Payload{
	&wire.Notify{Type: wire.Cookie, Data: []byte("cookie")}, wire.NewChildNotify(wire.RekeySA, 0x01020304), &wire.Delete{Protocol: wire.ProtocolIKE},
	&wire.Delete{Protocol: wire.ProtocolESP, SPIs: []uint32{256, 257}}, &wire.Notify{Type: wire.InitialContact}, wire.NewInvalidKE(wire.ECP384),
	&wire.Notify{Type: wire.AdditionalKeyExchange, Data: []byte("link")}, wire.VendorID("nobody"), wire.Nonce(make([]byte, 32)),
	&wire.Notify{Type: wire.InvalidSPI, Data: []byte{0, 0, 1, 0}}, &wire.Notify{Type: wire.UpdateSAAddresses}, &wire.Unknown{Kind: 200, Body: []byte("?")},
	&wire.KeyExchange{Method: wire.Curve25519, Data: make([]byte, 32)}, &wire.EAP{Message: []byte{1, 1, 0, 5, 1}},
	&wire.Notify{Type: wire.AuthenticationFailed}, &wire.Notify{Type: wire.QuickCrashDetection, Data: make([]byte, 32)},
}

// settle makes the runtime have what it keeps for itself on the heap and would otherwise
// come by in the hour that this takes, which is no growth of ours: threads, a few KiB each,
// and a full cache of what goroutines wait with, 128 for each processor.
func settle() {
	const threads, waiters = 32, 1024
	var all, done sync.WaitGroup
	all.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
	gate := make(chan struct{})
	for range waiters {
		done.Go(func() { <-gate })
	}
	time.Sleep(100 * time.Millisecond) // until they wait; how many do does not matter
	close(gate)
	done.Wait()
}
