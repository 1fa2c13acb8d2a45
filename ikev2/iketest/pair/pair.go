// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"fmt"
	"net/netip"
	"time"

	"dmvpn/ikev2/sa"
)

// Pair is two ends and what is on its way between them.
type Pair struct {
	Now  time.Time
	Ends [2]*End
	Wire []Message
	// Told gets every action that is no Send; nil: nobody does.
	Told func(end int, a sa.Action)

	credentials *credentials
	random      Dice
}

// End is one machine.
type End struct {
	Machine *sa.Machine
	Config  sa.Config
	Ledger  *Ledger
	Address netip.AddrPort // with port 500
}

// Message is a datagram on its way to an end.
type Message struct {
	To int
	sa.Datagram
}

// New makes two ends that do not know each other yet. Equal seeds give equal pairs, but
// for certificates and for ML-KEM.
func New(seed uint64, policy Policy) *Pair {
	p := &Pair{Now: Epoch, random: Dice(seed)}
	if policy.Random == nil {
		policy.Random = &p.random
	}
	p.credentials = newCredentials(policy)
	for i := range p.Ends {
		p.Ends[i] = p.end(i, fmt.Sprintf("end%d.example", i))
	}
	return p
}

func (p *Pair) end(i int, name string) *End {
	e := &End{Ledger: &Ledger{}, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 500)}
	e.Config = sa.Config{
		Connections: []*sa.Connection{p.credentials.connection(name)}, Installer: e.Ledger, Random: p.credentials.Random,
		CrashSecret: []byte("the same after a restart"),
	}
	_, _ = p.credentials.Random.Read(e.Config.Instance[:])
	e.Machine = sa.New(p.Now, e.Config)
	return e
}

// Replace puts a machine that knows nothing in the place of the first end's, with another
// name and address: the next of the other end's peers.
func (p *Pair) Replace(name string, address netip.Addr) {
	p.Ends[0] = p.end(0, name)
	p.Ends[0].Address = netip.AddrPortFrom(address, 500)
}

// Input hands an end one input; what it sends goes on the wire.
func (p *Pair) Input(end int, in sa.Input) {
	for _, a := range p.Ends[end].Machine.Handle(p.Now, in) {
		send, ok := a.(*sa.Send)
		if !ok {
			if p.Told != nil {
				p.Told(end, a)
			}
			continue
		}
		if !send.Keepalive {
			p.Wire = append(p.Wire, Message{1 - end, sa.Datagram{Local: send.Remote, Remote: send.Local, Data: send.Data}})
		}
	}
}

// Take takes the oldest message off the wire.
func (p *Pair) Take() (m Message, ok bool) {
	if len(p.Wire) == 0 {
		return m, false
	}
	m, p.Wire = p.Wire[0], p.Wire[1:]
	return m, true
}

// Run delivers until the wire is empty.
func (p *Pair) Run() {
	for m, ok := p.Take(); ok; m, ok = p.Take() {
		p.Input(m.To, &m.Datagram)
	}
}

// Connect lets the first end begin.
func (p *Pair) Connect() {
	p.Input(0, &sa.Connect{Connection: "tunnel", Local: p.Ends[0].Address, Remote: p.Ends[1].Address, Once: true})
}

// Wait lets time pass, with all timers on the way, and delivers what they send.
func (p *Pair) Wait(d time.Duration) {
	for until := p.Now.Add(d); ; {
		next := until
		for _, e := range p.Ends {
			if at := e.Machine.Next(); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.After(p.Now) {
			p.Now = next
		}
		for i := range p.Ends {
			p.Input(i, &sa.Elapsed{})
		}
		p.Run()
		if !p.Now.Before(until) {
			return
		}
	}
}

// Err is the first complaint of a data plane.
func (p *Pair) Err() error {
	for _, e := range p.Ends {
		if e.Ledger.Err != nil {
			return e.Ledger.Err
		}
	}
	return nil
}
