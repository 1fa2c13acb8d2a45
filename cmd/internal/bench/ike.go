// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/ikev2/iketest/pair"
	"dmvpn/ikev2/sa"
)

// A handshake is one policy's IKE_SA_INIT to IKE_AUTH, seen by its responder.
type handshake struct {
	name   string
	policy pair.Policy

	pair *pair.Pair
	next int             // the next initiator
	cpu  []time.Duration // of the responder, for one handshake, by round
	kex  []time.Duration // of X25519 alone: a key pair made and one secret, by round
}

func handshakes() []*handshake {
	const classical = "aes256gcm16-prfsha256-x25519"
	return []*handshake{
		{name: "PSK, X25519", policy: pair.Policy{IKE: classical}},
		{name: "ECDSA P-256, X25519", policy: pair.Policy{IKE: classical, Certificates: true}},
		{name: "PSK, X25519 and ML-KEM-768", policy: pair.Policy{IKE: classical + "-ke1_mlkem768"}},
	}
}

// ikeTable measures the IKE machine without its sockets, on one CPU.
func ikeTable(rounds, perRound, sas int) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	list := handshakes()
	for _, h := range list {
		h.pair = pair.New(1, h.policy)
		if err := h.crowd(perRound); err != nil { // what is made once
			return err
		}
	}
	bogus := newStrangers()
	for range rounds {
		for _, h := range list {
			if err := h.round(perRound); err != nil {
				return err
			}
		}
		if err := bogus.round(100 * perRound); err != nil {
			return err
		}
	}
	fmt.Printf("IKE, %d rounds of %d handshakes, CPU time of the responder, without system calls\n\n", rounds, perRound)
	fmt.Printf("  %-28s %12s %11s %10s %14s\n", "handshake", "one takes", "per second", "X25519s", "an SA holds")
	for _, h := range list {
		octets, err := h.memory(sas)
		if err != nil {
			return err
		}
		var of []float64
		for i := range h.cpu {
			of = append(of, float64(h.cpu[i])/float64(h.kex[i]))
		}
		middle, _, _ := ratios(of)
		one := median(h.cpu)
		fmt.Printf("  %-28s %9d µs %11.0f %10.1f %10.1f KiB\n", h.name, one.Microseconds(), float64(time.Second)/float64(one), middle, octets/1024)
	}
	fmt.Printf("\n  a stranger's IKE_SA_INIT while cookies are asked for: %.1f µs\n", float64(median(bogus.cpu).Nanoseconds())/1000)
	fmt.Printf("  expected: PSK with X25519 at least 1000 per second, an SA at most 16 KiB, a stranger under 5 µs\n")
	fmt.Printf("  proof: every handshake established its SA, memory is of %d of them, every stranger was answered by a cookie\n\n", sas)
	return nil
}

// initiator numbers the peers.
func initiator(n int) (name string, address netip.Addr) {
	return fmt.Sprintf("spoke%d.example", n), netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(n))))
}

// crowd lets n more peers connect.
func (h *handshake) crowd(n int) error {
	for range n {
		h.pair.Replace(initiator(h.next))
		h.next++
		h.pair.Connect()
		h.pair.Run()
	}
	return h.proven()
}

// proven fails unless every initiator so far has its SA.
func (h *handshake) proven() error {
	established := h.pair.Ends[1].Machine.Counters().Established
	if established != h.next || h.pair.Err() != nil {
		return cmp.Or(h.pair.Err(), fmt.Errorf("%s: %d IKE SAs after %d handshakes", h.name, established, h.next))
	}
	return nil
}

// round measures n handshakes, and as many times X25519.
func (h *handshake) round(n int) error {
	var spent time.Duration
	for range n {
		h.pair.Replace(initiator(h.next))
		h.next++
		h.pair.Connect()
		for m, ok := h.pair.Take(); ok; m, ok = h.pair.Take() {
			start := processTime()
			h.pair.Input(m.To, &m.Datagram)
			if m.To == 1 {
				spent += processTime() - start
			}
		}
	}
	h.cpu = append(h.cpu, spent/time.Duration(n))
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	start := processTime()
	for range n {
		own, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		if _, err := own.ECDH(peer.PublicKey()); err != nil {
			return err
		}
	}
	h.kex = append(h.kex, (processTime()-start)/time.Duration(n))
	return h.proven()
}

// memory gives the octets that an established SA holds, of n that are made for it and
// have outlived every retransmission.
func (h *handshake) memory(n int) (float64, error) {
	before := heap()
	if err := h.crowd(n); err != nil {
		return 0, err
	}
	for range 5 {
		h.pair.Now = h.pair.Now.Add(5 * time.Second)
		h.pair.Input(1, &sa.Elapsed{})
	}
	h.pair.Wire = nil
	held := heap() - before
	runtime.KeepAlive(h.pair)
	return held / float64(n), nil
}

// strangers send an IKE_SA_INIT each, of another address and SPI, to a responder that
// asks for cookies.
type strangers struct {
	pair  *pair.Pair
	first pair.Message
	sent  uint32
	cpu   []time.Duration // of one message, by round
}

func newStrangers() *strangers {
	s := &strangers{pair: pair.New(1, pair.Policy{})}
	responder := s.pair.Ends[1]
	responder.Config.Limits.CookieThreshold = 1
	responder.Machine = sa.New(s.pair.Now, responder.Config)
	s.pair.Connect()
	s.first, _ = s.pair.Take()
	s.pair.Input(1, &s.first.Datagram) // takes the place that is free without a cookie
	return s
}

func (s *strangers) round(n int) error {
	start := processTime()
	for range n {
		s.sent++
		binary.BigEndian.PutUint32(s.first.Data, s.sent)
		s.first.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, s.sent))), 500)
		s.pair.Ends[1].Machine.Handle(s.pair.Now, &s.first.Datagram)
	}
	s.cpu = append(s.cpu, (processTime()-start)/time.Duration(n))
	if c := s.pair.Ends[1].Machine.Counters(); c.CookiesSent != uint64(s.sent) {
		return fmt.Errorf("%d cookies for %d strangers", c.CookiesSent, s.sent)
	}
	return nil
}

// processTime is the CPU time of this process, its garbage collector included.
func processTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // the clock that every process has
	}
	return time.Duration(t.Nano())
}

// heap is what is reachable, in octets.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
