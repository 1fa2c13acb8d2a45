// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dmvpn/loader/netnstest"
)

// w0 192.0.2.11/24 ───── w1
func wired(t *testing.T) *Host {
	t.Helper()
	h := host(t)
	netnstest.Run(t, "ip link add w0 type veth peer name w1")
	netnstest.Run(t, "ip address add 192.0.2.11/24 dev w0")
	netnstest.Run(t, "ip link set w1 up")
	netnstest.Run(t, "ip link set w0 up")
	return h
}

var underlaySpec = UnderlaySpec{Device: "w0", Mark: 7}

func resolve(t *testing.T, h *Host) Underlay {
	t.Helper()
	var u Underlay
	netnstest.Eventually(t, "the underlay is up", func() bool {
		var err error
		if u, err = h.Underlay(underlaySpec); err != nil {
			t.Fatal(err)
		}
		return u.Up
	})
	return u
}

func TestAnUnderlayIsResolved(t *testing.T) {
	h := wired(t)
	u := resolve(t, h)
	want := Underlay{Device: "w0", Index: u.Index, Address: netip.MustParseAddr("192.0.2.11"), MTU: 1500, Up: true, Mark: 7, L2: 14}
	if u != want || u.Index == 0 {
		t.Errorf("got %+v, want %+v", u, want)
	}
	netnstest.Run(t, "ip address add 198.51.100.9/24 dev w0")
	second := UnderlaySpec{Device: "w0", Address: netip.MustParseAddr("198.51.100.9")}
	if u, err := h.Underlay(second); err != nil || u.Address != second.Address {
		t.Errorf("by address: %+v, %v", u, err)
	}
	for _, c := range []struct {
		spec UnderlaySpec
		want error
		says string
	}{
		{UnderlaySpec{Device: "w9"}, ErrNoDevice, "w9: no such device"},
		{UnderlaySpec{Device: "w1"}, ErrNoAddress, "w1: no usable address"},
		{UnderlaySpec{Device: "w0", Address: netip.MustParseAddr("192.0.2.99")}, ErrNoAddress, "does not have 192.0.2.99"},
	} {
		if _, err := h.Underlay(c.spec); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v", c.spec, err)
		}
	}
	for _, x := range []struct {
		command  string
		only     Family
		address6 string
	}{
		{"ip address add fd00::11/64 dev w0 nodad", 0, "fd00::11"},
		{"ip address add 2001:db8::11/64 dev w0 nodad", 0, "2001:db8::11"},
		{"ip address add 2001:db8::12/64 dev w0 nodad", IPv6, "2001:db8::11"},
		{"ip address change 2001:db8::11/64 dev w0 preferred_lft 0", 0, "2001:db8::12"},
		{"ip address add fd00::12/64 dev w0 nodad", IPv4, "invalid IP"},
	} {
		netnstest.Run(t, x.command)
		u, err := h.Underlay(UnderlaySpec{Device: "w0", Only: x.only})
		if err != nil || u.Address6.String() != x.address6 || u.Address.IsValid() == (x.only == IPv6) {
			t.Errorf("after %s: %v and %v, %v", x.command, u.Address, u.Address6, err)
		}
	}
	if u, err := h.Underlay(UnderlaySpec{Device: "w0", Address6: netip.MustParseAddr("2001:db8::11")}); err != nil || u.Address6.String() != "2001:db8::11" {
		t.Errorf("a deprecated one that is asked for: %v, %v", u.Address6, err)
	}
	if _, err := h.Underlay(UnderlaySpec{Device: "w1", Only: IPv6}); !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), "of IPv6") {
		t.Errorf("none of IPv6: %v", err)
	}
	if _, err := h.Underlay(UnderlaySpec{Device: "w0", VRF: "blue"}); err == nil || !strings.Contains(err.Error(), "not in the VRF blue") {
		t.Errorf("VRF: got %v", err)
	}
}

func TestWhatHappensToTheUnderlayIsTold(t *testing.T) {
	h := wired(t)
	w, err := h.Watch(underlaySpec, resolve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, step := range []struct {
		command string
		kind    EventKind
		address string
	}{
		{"ip link set w0 mtu 1400", MTUChanged, "192.0.2.11"},
		{"ip address del 192.0.2.11/24 dev w0", AddressChanged, "invalid IP"},
		{"ip address add 192.0.2.12/24 dev w0", AddressChanged, "192.0.2.12"},
		{"ip address add 2001:db8::12/64 dev w0 nodad", AddressChanged, "192.0.2.12"},
		{"ip address del 2001:db8::12/64 dev w0", AddressChanged, "192.0.2.12"},
		{"ip link set w0 down", DeviceDown, "192.0.2.12"},
		{"ip link set w0 up", DeviceUp, "192.0.2.12"},
		{"ip link del w0", DeviceGone, "invalid IP"},
		{"ip link add w0 type veth peer name w1", DeviceCame, "invalid IP"},
		{"ip address add 192.0.2.13/24 dev w0", AddressChanged, "192.0.2.13"},
	} {
		netnstest.Run(t, step.command)
	next:
		select {
		case e := <-w.Events():
			if e.Kind == DeviceDown && step.kind == DeviceGone {
				goto next // a device goes down before it goes
			}
			if e.Kind != step.kind || e.Now.Address.String() != step.address {
				t.Errorf("%s: got %v, address %s", step.command, e.Kind, e.Now.Address)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: nothing was told", step.command)
		}
	}
}

func TestWhatChangedBeforeTheWatchIsToldFirst(t *testing.T) {
	h := wired(t)
	before := resolve(t, h)
	netnstest.Run(t, "ip link set w0 mtu 1300")
	w, err := h.Watch(underlaySpec, before)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.Events(); e.Kind != MTUChanged || e.Before.MTU != 1500 || e.Now.MTU != 1300 {
		t.Errorf("got %+v", e)
	}
	netnstest.Run(t, "ip link set w0 mtu 1200") // nobody listens: Close must not hang
	w.Close()
	w.Close()
}

func TestRecursionIsFoundAndNamed(t *testing.T) {
	h := wired(t)
	d := ensure(t, h, spec)
	u := resolve(t, h)
	ours := func(ifindex int) bool { return ifindex == d.Index }
	far := netip.MustParseAddr("203.0.113.1")

	if err := h.CheckRecursion(u, far, ours); err == nil || errors.Is(err, ErrRecursion) || !strings.Contains(err.Error(), "no route to 203.0.113.1") {
		t.Errorf("no route: got %v", err)
	}
	netnstest.Run(t, "ip route add default via 10.0.0.1 dev dmvpn0")
	err := h.CheckRecursion(u, far, ours)
	if !errors.Is(err, ErrRecursion) || !strings.Contains(err.Error(), "leaves by the tunnel dmvpn0") {
		t.Errorf("default route through the tunnel alone: got %v", err)
	}
	if err := h.CheckRecursion(u, netip.MustParseAddr("192.0.2.1"), ours); err != nil {
		t.Errorf("on link: got %v", err)
	}
	// The underlay's own default route, however far behind, is enough.
	netnstest.Run(t, "ip route add default via 192.0.2.1 dev w0 metric 500")
	if err := h.CheckRecursion(u, far, ours); err != nil {
		t.Errorf("with a default route by the underlay: got %v", err)
	}
}
