// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"dmvpn/loader/esp"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/underlay"
)

// rawSockets opens them, and counts those that are open.
type rawSockets struct{ open int }

func (r *rawSockets) OpenESP(at Endpoint) (*underlay.ESPConn, error) {
	r.open++
	return underlay.OpenESP(underlay.Config{Local: at.Address})
}

func (r *rawSockets) CloseESP(_ Endpoint, c *underlay.ESPConn) error {
	r.open--
	return c.Close()
}

// list notes what came.
type list struct {
	mu   sync.Mutex
	came []string
}

func (l *list) Begin(time.Time) {}
func (l *list) End()            {}

func (l *list) Open(b []byte, tos uint8, local, remote netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came = append(l.came, fmt.Sprintf("%d octets, TOS %#x, from %s to %s", len(b), tos, remote, local))
}

func (l *list) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.came, "; ")
}

// TestESPGoesAsItsPathSays: in UDP or not, from the socket of its address, and is counted so.
func TestESPGoesAsItsPathSays(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "ip link set lo mtu 1000")
	raw, came := &rawSockets{}, &list{}
	k := New(Config{CrashSecret: filepath.Join(t.TempDir(), "s"), Log: zerolog.Nop(), Failed: func(err error) { t.Error(err) },
		Raw: raw, ESP: func(int) Receiver { return came }})
	defer k.Close()
	for _, a := range []string{"127.0.0.1", "127.0.0.2"} {
		if err := k.Listen(Endpoint{Address: netip.MustParseAddr(a)}); err != nil {
			t.Fatal(err)
		}
	}
	packets := bytes.Repeat([]byte{9}, 250)
	path := &esp.Path{Local: netip.MustParseAddrPort("127.0.0.1:4500"), Remote: netip.MustParseAddrPort("127.0.0.2:4500")}
	for _, c := range []struct {
		inUDP bool
		want  string
	}{
		{false, "100 octets, TOS 0xb8, from 127.0.0.1:0 to 127.0.0.2:0; 100 octets, TOS 0xb8, from 127.0.0.1:0 to 127.0.0.2:0; 50 octets, TOS 0xb8, from 127.0.0.1:0 to 127.0.0.2:0"},
		{true, "100 octets, TOS 0xb8, from 127.0.0.1:4500 to 127.0.0.2:4500; 100 octets, TOS 0xb8, from 127.0.0.1:4500 to 127.0.0.2:4500; 50 octets, TOS 0xb8, from 127.0.0.1:4500 to 127.0.0.2:4500"},
	} {
		came.mu.Lock()
		came.came = nil
		came.mu.Unlock()
		path.Encapsulation = c.inUDP
		if err := k.SendSegments(path, 0xb8, 100, packets); err != nil {
			t.Fatal(err)
		}
		netnstest.Eventually(t, c.want, func() bool { return came.String() == c.want })
		if err := k.SendSegments(path, 0, 1000, make([]byte, 1000)); err == nil {
			t.Error("a packet that is too big was sent")
		}
	}
	all := map[string]uint64{}
	k.sockets.countESP(all, k.sockets.counters())
	for _, kind := range []string{"raw", "udp"} {
		if all["esp-"+kind+"-received"] != 3 || all["esp-"+kind+"-sent"] != 3 || all["esp-"+kind+"-too-big"] != 1 {
			t.Errorf("%s: %v", kind, all)
		}
	}
	if err := k.SendSegments(&esp.Path{Local: netip.MustParseAddrPort("127.0.0.9:4500"), Remote: path.Remote}, 0, 8, make([]byte, 8)); err == nil {
		t.Error("sent from an address without sockets")
	}
	at := Endpoint{Address: netip.MustParseAddr("127.0.0.1")}
	if err := k.Unlisten(at); err != nil || raw.open != 1 {
		t.Errorf("%d raw sockets are open, %v", raw.open, err)
	}
}

// TestICMPAboutESP: what was too big is for the data plane, all else for IKE.
func TestICMPAboutESP(t *testing.T) {
	var got []underlay.Hint
	k := New(Config{CrashSecret: filepath.Join(t.TempDir(), "s"), Log: zerolog.Nop(), TooBig: func(h underlay.Hint) { got = append(got, h) }})
	defer k.Close()
	to := netip.MustParseAddrPort("192.0.2.1:0")
	k.sockets.take(underlay.Hint{Remote: to, Err: unix.EMSGSIZE, MTU: 1400})
	k.sockets.take(underlay.Hint{Remote: to, Err: unix.EPROTO})
	if len(got) != 1 || got[0].MTU != 1400 {
		t.Errorf("got %v", got)
	}
}
