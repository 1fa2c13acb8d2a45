// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"dmvpn/nhrpd/wire"
)

// suite is one run against one target.
type suite struct {
	o       Options
	link    *link
	control *control // nil against a client
	ids     atomic.Uint32
	errors  atomic.Bool // the target has sent an Error Indication
	dmvpn   atomic.Bool // it knows our own extension

	registered sync.Map               // by a client, id to the server that it was sent to
	shared     atomic.Pointer[uint32] // an id that was sent to two

	mu    sync.Mutex
	freed *sync.Cond
	free  []netip.Addr // NBMA addresses that no case has, the longest unused first
	spent map[netip.Addr]bool
	next  uint32       // overlay addresses and networks that were given out
	turns *turns       // of cases
	stops atomic.Int32 // how often the target stopped answering
}

// mostAddresses bounds the sockets of a run.
const mostAddresses = 256

// Check says what is wrong with options, and fills in what was left out.
func (o *Options) Check() error {
	switch {
	case o.Role != NHS && o.Role != NHC:
		return fmt.Errorf("--role %q: nhs or nhc", o.Role)
	case !o.Target.IsValid():
		return errors.New("--target: the NBMA address of the system under test")
	case !o.Server.IsValid() || o.Server.IsSingleIP():
		return errors.New("--server-address: the NHS's overlay address with the length of the overlay's prefix, such as 10.0.0.1/24")
	case len(o.Local) == 0:
		return errors.New("--local: NBMA addresses of this host to play stations at, or a prefix of such")
	case o.Key > 1<<32-1:
		return fmt.Errorf("--key %d: more than 32 bits", o.Key)
	case len(o.Auth) > wire.MaxCiscoSecret:
		return fmt.Errorf("--auth: at most %d characters", wire.MaxCiscoSecret)
	case o.Wait <= 0:
		return errors.New("--wait: a time, such as 1s")
	}
	o.Target = o.Target.Unmap()
	for _, p := range o.Local {
		if p.Addr().Is4() != o.Target.Is4() {
			return fmt.Errorf("--local %v is of another family than --target %v", p, o.Target)
		}
	}
	for _, p := range append([]netip.Prefix{o.Clients, o.Networks, o.Behind}, o.Routed...) {
		if p.IsValid() && p.Addr().Is4() != o.Server.Addr().Is4() {
			return fmt.Errorf("%v is of another family than --server-address %v", p, o.Server)
		}
	}
	o.AtOnce = max(o.AtOnce, 1)
	if !o.Clients.IsValid() { // the upper half of the overlay
		p := o.Server.Masked()
		b := p.Addr().AsSlice()
		b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
		a, _ := netip.AddrFromSlice(b)
		o.Clients = netip.PrefixFrom(a, p.Bits()+1)
	}
	if o.Clients = o.Clients.Masked(); !o.Server.Masked().Overlaps(o.Clients) || o.Clients.Contains(o.Server.Addr()) {
		return fmt.Errorf("--clients %v: a part of the overlay %v that the server's own address is not in", o.Clients, o.Server.Masked())
	}
	if !o.Networks.IsValid() {
		o.Networks = netip.MustParsePrefix("100.64.0.0/10")
		if o.Server.Addr().Is6() {
			o.Networks = netip.MustParsePrefix("2001:db8:c000::/36")
		}
	}
	return nil
}

// locals are the addresses of o.Local, each once.
func (o *Options) locals() []netip.Addr {
	var list []netip.Addr
	for _, p := range o.Local {
		first := p.Addr()
		if p.IsSingleIP() {
			list = append(list, first)
			continue
		}
		p = p.Masked()
		for a := p.Addr().Next(); p.Contains(a) && len(list) < mostAddresses; a = a.Next() {
			if p.Contains(a.Next()) { // not the broadcast address
				list = append(list, a)
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// Chosen gives the cases that options ask for.
func (o *Options) Chosen() []Case {
	return slices.DeleteFunc(Cases(), func(c Case) bool {
		return c.Role != o.Role || o.Run != nil && !o.Run.MatchString(c.ID)
	})
}

// Run runs the cases that the options ask for, and calls done, if it is not nil, with each
// result as soon as all before it are there. The results are in the order of Cases. The error is for what keeps
// all of them from being tried.
func Run(ctx context.Context, o Options, done func(Result)) ([]Result, error) {
	return run(ctx, o, rawGRE, done)
}

// run is Run on any wire.
func run(ctx context.Context, o Options, at listen, done func(Result)) ([]Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	locals := o.locals()
	l, err := open(at, o.Target, o.Key, locals, o.Role == NHC)
	if err != nil {
		return nil, err
	}
	defer l.close()
	s := &suite{o: o, link: l, free: locals, spent: map[netip.Addr]bool{}, turns: newTurns()}
	s.freed = sync.NewCond(&s.mu)
	s.ids.Store(rand.Uint32() >> 1) // from nothing that an earlier run sent
	if o.Role == NHC {
		return s.runClient(ctx, done)
	}
	s.control = s.newControl(locals[0])
	if err := s.control.roundTrip(); err != nil {
		return nil, fmt.Errorf("%w; is %v an NHS there, with GRE key %d and this password?", err, o.Server.Addr(), o.Key)
	}
	return s.runServer(ctx, done)
}

// teller keeps results, and tells of them in order.
type teller struct {
	mu      sync.Mutex
	results []Result
	there   []bool
	told    int
	done    func(Result)
}

func (x *teller) add(i int, r Result) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.results[i], x.there[i] = r, true
	for ; x.told < len(x.results) && x.there[x.told]; x.told++ {
		if x.done != nil {
			x.done(x.results[x.told])
		}
	}
}

// runCase gives a case its stations and takes its verdict.
func (s *suite) runCase(c *Case) Result {
	defer s.turns.take(c.alone)()
	t := &trial{s: s, c: c}
	if !s.take(t) {
		return t.result(end{NotApplicable, fmt.Sprintf("it takes %d addresses in --local", c.stations)})
	}
	defer s.give(t)
	return t.result(t.try())
}

// try runs the case to its end.
func (t *trial) try() (how end) {
	defer func() {
		if e := recover(); e != nil {
			var ok bool
			if how, ok = e.(end); !ok {
				panic(e)
			}
		}
	}()
	t.c.run(t)
	return end{verdict: Pass}
}

// result joins how a case ended with what was noted on its way.
func (t *trial) result(how end) Result {
	r := Result{
		ID: t.c.ID, Role: t.c.Role, Section: t.c.Section, Level: t.c.Level, Text: t.c.Text, Verdict: how.verdict, Detail: how.detail,
	}
	if r.Verdict == Pass && len(t.notes) > 0 {
		r.Verdict, r.Detail = Differs, t.notes[0]
		if len(t.notes) > 1 {
			r.Detail += fmt.Sprintf(" (and %d more)", len(t.notes)-1)
		}
	}
	return r
}

// take waits for the case's addresses; false if there are never enough.
func (s *suite) take(t *trial) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.link.ends) < t.c.stations {
		return false
	}
	for len(s.free) < t.c.stations {
		s.freed.Wait()
	}
	for range t.c.stations {
		st := s.newStation(s.free[0])
		st.used, s.spent[st.NBMA] = s.spent[st.NBMA], true
		s.free = s.free[1:]
		st.inbox = s.link.hear(st.NBMA)
		t.stations = append(t.stations, st)
	}
	return true
}

// give frees them; what they registered is taken back.
func (s *suite) give(t *trial) {
	for _, st := range t.stations {
		if st.registered {
			p := st.purge(host(st.Protocol), st.Network)
			p.Flags = wire.FlagPurgeNoReply
			_ = s.link.send(st.NBMA, s.o.Key, wire.GREProtocol, st.bytes(p))
		}
		s.link.deaf(st.NBMA)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range t.stations {
		s.free = append(s.free, st.NBMA)
	}
	s.freed.Broadcast()
}

// newStation gives out the next overlay address and network; the caller holds mu.
func (s *suite) newStation(nbma netip.Addr) *station {
	s.next++
	return &station{
		NBMA: nbma, Protocol: s.client(s.next), s: s, ids: &s.ids,
		Network: netip.PrefixFrom(nth(s.o.Networks, s.next, s.networkBits()), s.networkBits()),
	}
}

// client is the overlay address of a number; the first one, the control station's, does not
// come again.
func (s *suite) client(n uint32) netip.Addr {
	bits := s.o.Clients.Addr().BitLen()
	if room := uint32(1)<<min(bits-s.o.Clients.Bits(), 24) - 2; n > room && room > 1 {
		n = 2 + (n-2)%(room-1)
	}
	return nth(s.o.Clients, n, bits)
}

// networkBits is the length of a station's network.
func (s *suite) networkBits() int {
	if s.o.Networks.Addr().Is6() {
		return 48
	}
	return 24
}

// nth counts the parts of a prefix that have so many bits, from 1, and begins anew behind
// the last but one: neither the first nor the last is a host's.
func nth(p netip.Prefix, n uint32, bits int) netip.Addr {
	room := min(bits-p.Bits(), 24)
	n = 1 + (n-1)%uint32(max(1<<room-2, 1))
	b := p.Addr().AsSlice()
	for i := range 32 { // bit i of n is bit bits-1-i of the address
		if at := bits - 1 - i; at >= 0 && n&(1<<i) != 0 {
			b[at/8] |= 0x80 >> (at % 8)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
