// SPDX-License-Identifier: Apache-2.0

package sa_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	"dmvpn/ikev2/sa"
	"dmvpn/ikev2/wire"
)

// steps are what may happen next in a ride; x, y and z say to whom and how.
var steps = []func(r *ride, x, y, z byte){
	stepDeliver, stepCopy, stepDrop, stepBend, stepBendInside, stepRetype, stepCut,
	stepPass, stepWant, stepReimport, stepReplay, stepCapture, stepAll, stepFill, stepMove,
}

func stepDeliver(r *ride, x, _, _ byte) {
	if m, ok := r.pick(x, false); ok {
		r.input(m.To, &m.Datagram)
	}
}

func stepCopy(r *ride, x, _, _ byte) {
	if m, ok := r.pick(x, true); ok {
		r.input(m.To, &m.Datagram)
	}
}

func stepDrop(r *ride, x, _, _ byte) { r.pick(x, false) }

func stepAll(r *ride, x, _, _ byte) {
	for n := 0; n <= int(x)%32 && len(r.wire) > 0; n++ {
		stepDeliver(r, 0, 0, 0)
	}
}

func stepBend(r *ride, x, y, z byte) {
	if m, ok := r.pick(x, y&1 != 0); ok && len(m.Data) > 0 {
		m.Data[int(y)*len(m.Data)/256] ^= z
		r.input(m.To, &m.Datagram)
	}
}

// stepBendInside has the keys.
func stepBendInside(r *ride, x, y, z byte) {
	m, ok := r.pick(x, y&1 != 0)
	if !ok {
		return
	}
	h, first, text, ok := r.open(m.To, m.Data)
	if !ok || len(text) == 0 {
		return
	}
	text[int(y)*len(text)/256] ^= z
	m.Data = seal(r.ends[m.To].machine.KeysOf(h.SPIi, h.SPIr), h, first, text, 0, 0)
	r.input(m.To, &m.Datagram)
}

// stepRetype seals a message anew as one of another exchange, with another message id, or
// with another first payload.
func stepRetype(r *ride, x, y, z byte) {
	m, ok := r.pick(x, true)
	if !ok {
		return
	}
	h, first, text, ok := r.open(m.To, m.Data)
	if !ok {
		return
	}
	keys := r.ends[m.To].machine.KeysOf(h.SPIi, h.SPIr)
	switch y % 4 {
	case 0:
		h.Exchange = exchanges[int(z)%len(exchanges)]
	case 1:
		h.MessageID += uint32(int8(z))
	case 2:
		first = wire.PayloadType(z)
	case 3:
		h.Response = !h.Response
	}
	m.Data = seal(keys, h, first, text, 0, 0)
	r.input(m.To, &m.Datagram)
}

func (r *ride) open(to int, b []byte) (h wire.Header, first wire.PayloadType, text []byte, ok bool) {
	h, _, err := wire.ParseHeader(b)
	if err != nil || fragment(b) != 0 {
		return h, 0, nil, false
	}
	keys := r.ends[to].machine.KeysOf(h.SPIi, h.SPIr)
	if keys == nil {
		return h, 0, nil, false
	}
	h, first, text, err = unseal(keys, b)
	return h, first, text, err == nil
}

func stepCut(r *ride, x, y, z byte) {
	m, ok := r.pick(x, true)
	if !ok {
		return
	}
	m.Data = m.Data[:max(0, len(m.Data)-int(y))]
	if z&1 != 0 && len(m.Data) >= wire.HeaderSize {
		binary.BigEndian.PutUint32(m.Data[24:], uint32(len(m.Data)))
	}
	r.input(m.To, &m.Datagram)
}

var durations = []time.Duration{0, time.Millisecond, 300 * time.Millisecond, time.Second, 2500 * time.Millisecond, 6 * time.Second, 12 * time.Second,
	31 * time.Second, 70 * time.Second, 5 * time.Minute, 56 * time.Minute, 4 * time.Hour}

func stepPass(r *ride, x, _, _ byte) { r.pass(durations[int(x)%len(durations)]) }

// stepWant is an input that is no message.
func stepWant(r *ride, x, y, z byte) {
	i := int(x) & 1
	e, here, there := r.ends[i], r.address[i].Address, r.address[1-i].Address
	var info sa.Info
	var child uint32
	if all := e.machine.Infos(e.now); len(all) > 0 {
		info = all[int(z)%len(all)]
		if n := len(info.Children); n > 0 {
			child = info.Children[int(z>>4)%n].Inbound
		}
	}
	elsewhere := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, z}), 1000+uint16(z))
	switch y % 16 {
	case 0, 1:
		r.input(i, &sa.Connect{Connection: "tunnel", Local: here, Remote: there, Once: y%16 == 1})
	case 2:
		r.input(i, &sa.Connect{Connection: "tunnel", Local: here, Remote: there, Identity: r.address[1-i].Config.Connections[0].Local})
	case 3:
		r.input(i, &sa.Rekey{Child: child})
	case 4:
		r.input(i, &sa.Rekey{ID: info.ID})
	case 5:
		r.input(i, &sa.Rekey{ID: info.ID, Create: true})
	case 6:
		r.input(i, &sa.Terminate{ID: info.ID})
	case 7:
		r.input(i, &sa.Terminate{ID: info.ID, Child: child})
	case 8, 9:
		r.input(i, &sa.Expired{Inbound: child, Hard: y%16 == 9})
	case 10:
		r.input(i, &sa.Arrived{Inbound: child, Local: here, Remote: there})
	case 11:
		r.input(i, &sa.Arrived{Inbound: child, Local: here, Remote: elsewhere})
	case 12:
		r.input(i, &sa.UnknownSPI{Local: here, Remote: there, SPI: child + uint32(z&3)})
	case 13:
		r.input(i, &sa.Unreachable{Local: here, Remote: there})
	case 14:
		old := here.Addr()
		r.address[i].Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 10 + z%100}), 500)
		r.input(i, &sa.Readdressed{Old: old, New: r.address[i].Address.Addr()})
	case 15:
		d := &sa.Disconnect{Connection: "tunnel", Remote: there}
		if z&1 != 0 {
			d.Identity = r.address[1-i].Config.Connections[0].Local
		}
		r.input(i, d)
	}
}

func stepReimport(r *ride, x, _, _ byte) { r.ends[x&1].reimport() }

// stepReplay brings an old message back, to its receiver or to its sender.
func stepReplay(r *ride, x, y, z byte) {
	if len(r.history) == 0 {
		return
	}
	m := r.history[(int(x)<<8|int(y))%len(r.history)]
	if z&1 != 0 {
		m.To = 1 - m.To
	}
	r.input(m.To, &m.Datagram)
}

func stepCapture(r *ride, x, y, z byte) {
	i := int(z) & 1
	r.input(i, &sa.Datagram{Local: r.address[i].Address, Remote: r.address[1-i].Address, Data: r.captured[(int(x)<<8|int(y))%len(r.captured)]})
}

// stepFill lets a data plane refuse, or take again, further SAs.
func stepFill(r *ride, x, _, _ byte) { r.ends[x&1].ledger.Full = !r.ends[x&1].ledger.Full }

// stepMove delivers a message as if a NAT had changed where it comes from.
func stepMove(r *ride, x, y, _ byte) {
	if m, ok := r.pick(x, false); ok {
		m.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, y & 3}), 4500+uint16(y>>4))
		r.input(m.To, &m.Datagram)
	}
}

// sequences are seeds: conversations, and each with something in between.
func sequences() (all [][]byte) {
	step := func(f string, x, y, z byte) []byte { return []byte{stepNumber[f], x, y, z} }
	run := step("all", 31, 0, 0)
	talk := [][]byte{step("want", 0, 1, 0), run}
	for y := byte(3); y < 16; y++ {
		talk = append(talk, step("want", y, y, 0), run, step("pass", 6, 0, 0), run, step("want", 0, 1, 0), run)
	}
	join := func(policy byte, steps ...[]byte) {
		b := []byte{policy}
		for _, s := range steps {
			b = append(b, s...)
		}
		all = append(all, b)
	}
	for policy := range byte(16) {
		join(policy, talk...)
		join(policy, step("want", 0, 0, 0), step("want", 1, 0, 0), run, step("want", 0, 3, 0), step("want", 1, 3, 0), run, step("want", 0, 4, 0), step("want", 1, 4, 0), run)
	}
	for name := range stepNumber {
		join(1, talk[0], step("deliver", 0, 0, 0), step("deliver", 0, 0, 0), step(name, 0, 200, 1), run, step("want", 0, 3, 0), step(name, 0, 100, 3), run, step("want", 1, 4, 0), step(name, 0, 150, 7), run)
	}
	return all
}

var stepNumber = map[string]byte{"deliver": 0, "copy": 1, "drop": 2, "bend": 3, "bend inside": 4, "retype": 5, "cut": 6,
	"pass": 7, "want": 8, "reimport": 9, "replay": 10, "capture": 11, "all": 12, "fill": 13, "move": 14}
