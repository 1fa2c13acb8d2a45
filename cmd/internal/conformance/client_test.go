// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"dmvpn/nhrpd/wire"
)

// client is a small NHRP client that does all that the cases ask for, but for one fault. Its
// state is its own goroutine's.
type client struct {
	conn      conn
	nbma, own netip.Addr
	network   netip.Prefix
	secret    string
	fault     string // what it does wrong, "" for nothing
	hubs      []*hub
	ids       uint32
	questions []*question
	known     []netip.Prefix // what it was told the way to
	purged    []netip.Prefix
	dead      bool
}

// does says whether something is what it does wrong.
func (c *client) does(fault string) bool { return c.fault == fault }

// hub is a server of the client.
type hub struct {
	nbma, protocol netip.Addr
	routed         netip.Prefix
	registered     bool
	hides          bool // the client's own network, by an answer
	ids            uint32
	repeat
}

// question is a Resolution Request until its answer, or refusal.
type question struct {
	hub *hub
	repeat
}

// repeat is a packet that is sent until it is answered.
type repeat struct {
	p     *wire.Packet // nil: answered
	pause time.Duration
	next  time.Time
	sent  int
}

// What the client does in seconds elsewhere.
const (
	clientHolding = 9 * time.Second
	firstPause    = time.Second
	longestPause  = 8 * time.Second
	afterRefusal  = time.Minute
	mostQuestions = 5 // tries of one
)

// serve is the client until its socket is closed.
func (c *client) serve() {
	packets := make(chan received, 1024)
	go func() {
		defer close(packets)
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.conn.ReadFromIP(b)
			if err != nil {
				return
			}
			source, _ := netip.AddrFromSlice(from.IP)
			r := received{From: source.Unmap()}
			if r.parse(slices.Clone(b[:n]), -1) {
				packets <- r
			}
		}
	}()
	for {
		due := time.NewTimer(time.Until(c.due()))
		select {
		case r, more := <-packets:
			if !more {
				return
			}
			if !c.dead {
				c.hear(&r)
			}
		case <-due.C:
			c.tick(time.Now())
		}
		due.Stop()
	}
}

// due is when there is something to do.
func (c *client) due() time.Time {
	at := time.Now().Add(time.Hour)
	if c.dead {
		return at
	}
	for _, h := range c.hubs {
		at = earlier(at, h.next)
	}
	for _, q := range c.questions {
		at = earlier(at, q.next)
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// tick sends what is due.
func (c *client) tick(now time.Time) {
	for i, h := range c.hubs {
		if now.Before(h.next) {
			continue
		}
		if h.p == nil {
			h.repeat = repeat{p: c.registration(h, i), pause: firstPause}
		} else if c.does("repeats with a new id") {
			h.p.RequestID = c.id()
		}
		c.send(h.nbma, h.p)
		if c.does("sends NHRP inside of IP as well") {
			c.inside(h)
		}
		h.wait(now, !c.does("repeats registrations at one pace"))
	}
	c.questions = slices.DeleteFunc(c.questions, func(q *question) bool { return q.p == nil || q.sent == mostQuestions })
	for _, q := range c.questions {
		if !now.Before(q.next) {
			c.send(q.hub.nbma, q.p)
			q.wait(now, !c.does("repeats questions at one pace"))
			if c.does("asks once") {
				q.sent = mostQuestions
			}
		}
	}
}

func (r *repeat) wait(now time.Time, longer bool) {
	r.next = now.Add(r.pause)
	r.sent++
	if longer {
		r.pause = min(2*r.pause, longestPause)
	}
}

func (c *client) id() uint32 {
	c.ids++
	return c.ids
}

func (c *client) octets(to netip.Addr, gre, b []byte) {
	_, _ = c.conn.WriteToIP(append(gre, b...), &net.IPAddr{IP: to.AsSlice()})
}

// within says whether an address is in one of the prefixes.
func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}
