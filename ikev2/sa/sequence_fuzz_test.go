// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"dmvpn/ikev2/iketest"
	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// FuzzSequence: two machines, and a wire and a clock that do whatever they like: deliver in
// any order, twice, late or never, bend messages outside and inside of SK, mix in captured
// ones, let peers move, connect, rekey, delete, expire, export and import. Both
// machines stay whole after every step, and each one left alone ends with nothing.
// Four octets are one step; see steps.
func FuzzSequence(f *testing.F) {
	all, err := iketest.Captures()
	if err != nil {
		f.Fatal(err)
	}
	var captured [][]byte
	for _, c := range all {
		for _, d := range c.Datagrams {
			captured = append(captured, bytes.TrimPrefix(d.Payload, []byte{0, 0, 0, 0}))
		}
	}
	for _, s := range sequences() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 4 {
			return
		}
		r := newRide(t, program[0], captured)
		for program = program[1:]; len(program) >= 4 && r.taken < 150; program = program[4:] {
			steps[int(program[0])%len(steps)](r, program[1], program[2], program[3])
		}
		for i, e := range r.ends {
			e.ledger.Full = false
			for _, remote := range r.wanted[i] {
				e.input(&sa.Disconnect{Connection: "tunnel", Remote: remote})
				e.input(&sa.Disconnect{Connection: "tunnel", Remote: remote, Identity: r.address[1-i].Config.Connections[0].Local})
			}
			e.reimport()
			e.desert()
		}
	})
}

// ride is one run.
type ride struct {
	t        *testing.T
	ends     [2]*end
	address  [2]pair.End
	wire     []pair.Message
	history  []pair.Message
	captured [][]byte
	wanted   [2][]netip.AddrPort // that ends were to connect to
	taken    int                 // inputs
}

// wirePolicies are without ML-KEM, which is not the same in two runs.
var wirePolicies = []pair.Policy{
	{IKE: "aes128gcm16-prfsha256-x25519", ESP: "aes128gcm16"},
	{IKE: "aes128gcm16-prfsha256-x25519-ke1_ecp256", ESP: "aes128gcm16-x25519-ke1_ecp256"},
}

func newRide(t *testing.T, policy byte, captured [][]byte) *ride {
	x := wirePolicies[int(policy)%len(wirePolicies)]
	x.Change = func(c *sa.Connection) {
		c.FragmentSize = 400
		c.Childless = policy&2 != 0
		if policy&4 != 0 {
			c.Mode = sa.Tunnel
		}
		c.ForceEncapsulation = policy&8 != 0
	}
	p := pair.New(uint64(policy), x)
	r := &ride{t: t, captured: captured}
	for i, from := range p.Ends {
		e := &end{t: t, now: p.Now, config: from.Config, ledger: from.Ledger, machine: from.Machine}
		e.config.Limits = sa.Limits{HalfOpen: 8, CookieThreshold: 2, PerAddress: 2, PerAddressCookie: 4, Children: 3, Attempts: 3, HalfOpenOctets: 2048}
		e.machine = sa.New(e.now, e.config)
		r.ends[i], r.address[i] = e, *from
	}
	return r
}

// input gives an end one input, and what it sends goes on the wire.
func (r *ride) input(i int, in sa.Input) {
	r.taken++
	if c, ok := in.(*sa.Connect); ok {
		r.wanted[i] = append(r.wanted[i], c.Remote)
	}
	for _, a := range r.ends[i].input(in) {
		s, ok := a.(*sa.Send)
		if !ok || s.Keepalive || len(r.wire) >= 64 {
			continue
		}
		m := pair.Message{To: 1 - i, Datagram: sa.Datagram{Local: s.Remote, Remote: s.Local, Data: s.Data}}
		r.wire = append(r.wire, m)
		r.history = append(r.history, m)
	}
}

// pick gives a message that is on its way, and takes it off the wire.
func (r *ride) pick(x byte, keep bool) (m pair.Message, ok bool) {
	if len(r.wire) == 0 {
		return m, false
	}
	i := int(x) % len(r.wire)
	m = r.wire[i]
	if !keep {
		r.wire = append(r.wire[:i:i], r.wire[i+1:]...)
	}
	m.Data = bytes.Clone(m.Data)
	return m, true
}

// pass lets time go by.
func (r *ride) pass(d time.Duration) {
	for i, e := range r.ends {
		e.now = e.now.Add(d)
		r.input(i, &sa.Elapsed{})
	}
}
