// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dmvpn/loader/underlay"
)

// TestTheFilterKeepsStraysFromTheSockets: they are counted as what they are, and what a full
// buffer loses is told apart from them.
func TestTheFilterKeepsStraysFromTheSockets(t *testing.T) {
	const known, unknown = 0x01020304, 0x0badc0de
	m := newMachine(t)
	p := open(t, m.options)
	filter, err := p.ESPFilter()
	check(t, err)
	local := netip.MustParseAddr("192.0.2.11")
	check(t, p.Tables.AddSPI(known))
	check(t, p.Tables.JudgeESP(local, m.tunnel, false))
	udp, err := underlay.OpenUDP(underlay.UDPConfig{Local: netip.AddrPortFrom(local, 4500), Encapsulation: true})
	check(t, err)
	defer udp.Close()
	raw, err := underlay.OpenESP(underlay.Config{Local: local})
	check(t, err)
	defer raw.Close()
	check(t, udp.SetFilter(filter))
	check(t, raw.SetFilter(filter))
	// What the socket has room for, so that it can be filled.
	room := 16384
	control, err := udp.File().SyscallConn()
	check(t, err)
	check(t, control.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, room) }))
	check(t, err)

	sender, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(udp.Local()))
	check(t, err)
	defer sender.Close()
	other, err := net.DialIP("ip4:50", nil, &net.IPAddr{IP: local.AsSlice()})
	check(t, err)
	defer other.Close()
	packet := func(spi uint32) []byte {
		return append(binary.BigEndian.AppendUint32(nil, spi), make([]byte, 996)...)
	}
	const strays, sent = 50, 100
	for range strays {
		_, err := sender.Write(packet(unknown))
		check(t, err)
		_, err = other.Write(packet(unknown))
		check(t, err)
	}
	if n := udp.Counters().Overflow; n != 0 {
		t.Errorf("%d are lost by a full buffer, and none was taken", n)
	}
	for range sent {
		_, err := sender.Write(packet(known))
		check(t, err)
	}
	lost := udp.Counters().Overflow
	check(t, udp.SetReadDeadline(time.Now().Add(time.Second)))
	for b := underlay.NewBatch(16); udp.ReadBatch(b) == nil; {
	}
	if got := udp.Counters(); got.ESP == 0 || got.Overflow == 0 || got.Overflow != lost || got.ESP+uint64(got.Overflow) != sent {
		t.Errorf("of %d packets %d came and %d, then %d were lost", sent, got.ESP, lost, got.Overflow)
	}
	_, err = other.Write(packet(known))
	check(t, err)
	check(t, raw.SetReadDeadline(time.Now().Add(10*time.Second)))
	check(t, raw.ReadBatch(underlay.NewBatch(4)))
	if got := raw.Counters(); got.Received != 1 || got.Overflow != 0 {
		t.Errorf("of ESP without UDP %d came and %d are lost, want one that somebody has the SPI of", got.Received, got.Overflow)
	}
	drops, err := p.Tables.Drops()
	check(t, err)
	if len(drops) != 1 || drops[0].Reason.String() != "unknown-spi" || drops[0].Packets != strays {
		t.Errorf("dropped %+v, want %d in UDP of an unknown SPI: what comes without is others'", drops, strays)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
