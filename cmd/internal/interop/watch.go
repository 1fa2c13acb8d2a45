// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"dmvpn/cmd/internal/lab"
	"dmvpn/ikev2/wire"
)

// A watch keeps what crosses a place's wire, the second one's if nothing else is said.
type watch struct {
	capture *lab.Capture
	first   netip.Addr // where the first place's packets come from
}

// newWatch listens at the other end of the wire: a kernel that takes ESP in tunnel mode off
// shows what was in it on the same device.
func newWatch(inet *lab.Node, at place, first netip.Addr) (*watch, error) {
	c, err := inet.Capture(at.wire, nil)
	return &watch{capture: c, first: first}, err
}

// A seen is one packet, from the first place or to it.
type seen struct {
	fromFirst bool
	other     netip.Addr // who is not the first
	port      uint16     // the second place's; 0: not UDP
	first     uint16     // the first place's, as it is seen
	message   *wire.Message
	keepalive bool
	esp       string // SPI
	gre       bool   // in clear
}

// packets decodes what was seen so far. What is neither IKE, ESP nor GRE is left out.
func (w *watch) packets() []seen {
	var all []seen
	for _, f := range w.capture.Frames() {
		if s, ok := w.decode(f.Data); ok {
			all = append(all, s)
		}
	}
	return all
}

func (w *watch) decode(frame []byte) (seen, bool) {
	const ethernet = 14
	if len(frame) < ethernet+20 || frame[12] != 0x08 || frame[13] != 0 {
		return seen{}, false
	}
	ip := frame[ethernet:]
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if total < header+8 || total > len(ip) {
		return seen{}, false
	}
	body := ip[header:total]
	s := seen{fromFirst: netip.AddrFrom4([4]byte(ip[12:16])) == w.first, other: netip.AddrFrom4([4]byte(ip[12:16]))}
	if s.fromFirst {
		s.other = netip.AddrFrom4([4]byte(ip[16:20]))
	}
	switch ip[9] {
	case 47:
		s.gre = true
	case 50:
		s.esp = fmt.Sprintf("%08x", binary.BigEndian.Uint32(body))
	case 17:
		s.first, s.port = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		if !s.fromFirst {
			s.first, s.port = s.port, s.first
		}
		body = body[8:]
		kind := wire.IKE
		if s.port == 4500 {
			kind, body = wire.Classify(body)
		}
		switch kind {
		case wire.ESP:
			s.esp = fmt.Sprintf("%08x", binary.BigEndian.Uint32(body))
		case wire.Keepalive:
			s.keepalive = true
		case wire.IKE:
			m, err := wire.Parse(body)
			s.message = m
			return s, err == nil
		}
	default:
		return s, false
	}
	return s, true
}

// count says how many packets there were of a kind.
func (w *watch) count(is func(seen) bool) int {
	n := 0
	for _, s := range w.packets() {
		if is(s) {
			n++
		}
	}
	return n
}

// notified says whether there was an unprotected notification of a type.
func (w *watch) notified(t wire.NotifyType, fromFirst bool) bool {
	return w.count(func(s seen) bool {
		return s.message != nil && s.fromFirst == fromFirst && wire.FindNotify(s.message.Payloads, t) != nil
	}) > 0
}

// fragments counts SKF payloads of one direction.
func (w *watch) fragments(fromFirst bool) int {
	return w.count(func(s seen) bool {
		if s.message == nil || s.fromFirst != fromFirst {
			return false
		}
		_, ok := wire.Find[*wire.Fragment](s.message.Payloads)
		return ok
	})
}

// exchanges counts the requests of an exchange type from one side; a repeat is not
// another one.
func (w *watch) exchanges(t wire.ExchangeType, fromFirst bool) int {
	requests := map[wire.Header]int{}
	for _, s := range w.packets() {
		if s.message != nil && s.message.Exchange == t && !s.message.Response && s.fromFirst == fromFirst {
			requests[s.message.Header]++
		}
	}
	return len(requests)
}

// clear is whether any GRE left unencrypted.
func (w *watch) clear() bool { return w.count(func(s seen) bool { return s.gre }) > 0 }

// spis gives the last SPIs of ESP packets, of either direction.
func (w *watch) spis() (fromFirst, toFirst string) {
	for _, s := range w.packets() {
		switch {
		case s.esp == "":
		case s.fromFirst:
			fromFirst = s.esp
		default:
			toFirst = s.esp
		}
	}
	return fromFirst, toFirst
}

// String is a line for each packet with IKE, and one for each run of others.
func (w *watch) String() string {
	var b strings.Builder
	last, repeats := "", 0
	flush := func() {
		if repeats > 1 {
			fmt.Fprintf(&b, "   (%d times)\n", repeats)
		}
	}
	for _, s := range w.packets() {
		arrow := "<-"
		if s.fromFirst {
			arrow = "->"
		}
		line := ""
		switch {
		case s.message != nil:
			line = fmt.Sprintf("%s :%d %v", arrow, s.port, s.message)
		case s.keepalive:
			line = arrow + " keepalive"
		case s.gre:
			line = arrow + " GRE in clear"
		case s.esp != "":
			line = arrow + " ESP " + s.esp
		}
		if line == last {
			repeats++
			continue
		}
		flush()
		last, repeats = line, 1
		fmt.Fprintln(&b, line)
	}
	flush()
	return b.String()
}

// save writes the frames as a pcap file.
func (w *watch) save(path string) error {
	b := binary.LittleEndian.AppendUint32(nil, 0xA1B2C3D4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for _, f := range w.capture.Frames() {
		b = binary.LittleEndian.AppendUint32(b, uint32(f.At.Unix()))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.At.Nanosecond()/1000))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
		b = append(b, f.Data...)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
