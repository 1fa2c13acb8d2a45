// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"dmvpn/loader/netnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a Host in a namespace of the test's own.
func host(t testing.TB) *Host {
	t.Helper()
	netnstest.Enter(t)
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

var spec = TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")}, MTU: 1400}

func ensure(t testing.TB, h *Host, spec TunnelSpec) *Device {
	t.Helper()
	d, err := h.EnsureTunnel(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestATunnelDeviceIsMadeWithAddressMTUAndCarrier(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	if d.Adopted || d.Index == 0 || d.Name != "dmvpn0" {
		t.Errorf("got %+v", d)
	}
	link := netnstest.Run(t, "ip -d link show dmvpn0")
	for _, want := range []string{"POINTOPOINT", "NOARP", "UP,LOWER_UP", "mtu 1400", "qlen 10000", "type tun pi off vnet_hdr on multi_queue", "persist on"} {
		if !strings.Contains(link, want) {
			t.Errorf("the device lacks %q:\n%s", want, link)
		}
	}
	if address := netnstest.Run(t, "ip -4 address show dmvpn0"); !strings.Contains(address, "10.0.0.11/24") {
		t.Errorf("the device lacks its address:\n%s", address)
	}
	for _, who := range []string{"all", "dmvpn0"} {
		if redirects := netnstest.Run(t, "cat /proc/sys/net/ipv4/conf/"+who+"/send_redirects"); redirects != "0\n" {
			t.Errorf("%s sends ICMP redirects: %s", who, redirects)
		}
	}
	features := netnstest.Run(t, "ethtool -k dmvpn0")
	if !strings.Contains(features, "tcp-segmentation-offload: on") || !strings.Contains(features, "tx-udp-segmentation: on") {
		t.Errorf("GSO packets would not stay whole:\n%s", features)
	}
}

func TestADeviceThatIsThereIsAdoptedWithItsIndexAndChanged(t *testing.T) {
	h := host(t)
	first := ensure(t, h, spec)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	other := spec
	other.Addresses, other.MTU = []netip.Prefix{netip.MustParsePrefix("10.0.0.12/24")}, 1300
	second := ensure(t, h, other)
	if !second.Adopted || second.Index != first.Index {
		t.Errorf("got %+v, before %+v", second, first)
	}
	out := netnstest.Run(t, "ip -4 address show dmvpn0")
	if !strings.Contains(out, "10.0.0.12/24") || strings.Contains(out, "10.0.0.11/24") || !strings.Contains(out, "mtu 1300") {
		t.Errorf("not changed:\n%s", out)
	}
}

func TestQueuesThatWereKeptAreTakenAgain(t *testing.T) {
	h := host(t)
	first := ensure(t, h, spec)
	more, err := first.OpenQueue()
	if err != nil {
		t.Fatal(err)
	}
	again := spec
	again.Queues = slices.Clone(first.Queues)
	second := ensure(t, h, again)
	if !second.Adopted || len(second.Queues) != 2 || second.Queues[0] != first.Queues[0] || second.Queues[1] != more {
		t.Errorf("the queues are others: %+v", second)
	}
	again.Queues = second.Queues[:1]
	if _, err := h.EnsureTunnel(again); !errors.Is(err, ErrQueueTaken) {
		t.Errorf("somebody else reads, too: %v", err)
	}
	gone := spec
	gone.Name, gone.Addresses, gone.Queues = "dmvpn1", []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24")}, second.Queues[1:]
	if third := ensure(t, h, gone); len(third.Queues) != 1 || third.Queues[0] == more || third.Adopted {
		t.Errorf("the queue of another device was taken: %+v", third)
	}
}

func TestATunnelDeviceIsRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		before string
		spec   TunnelSpec
		want   error
		says   string
	}{
		{"the name of a veth", "ip link add dmvpn0 type veth peer name p0", spec, ErrNameTaken, "dmvpn0 is of kind veth"},
		{"the name of another program's TUN", "ip tuntap add dmvpn0 mode tun", spec, ErrNameTaken, "TUN of another program"},
		{"the name of a TAP", "ip tuntap add dmvpn0 mode tap", spec, ErrNameTaken, "another kind of device"},
		{"the address of another device", "ip address add 10.0.0.11/32 dev lo", spec, ErrAddressInUse, "10.0.0.11 belongs to lo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := host(t)
			netnstest.Run(t, c.before)
			before := netnstest.Run(t, "ip -br link")
			_, err := h.EnsureTunnel(c.spec)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if after := netnstest.Run(t, "ip -br link"); after != before {
				t.Errorf("something was left half made:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func TestASecondReaderIsRefused(t *testing.T) {
	h := host(t)
	ensure(t, h, spec)
	if _, err := h.EnsureTunnel(spec); !errors.Is(err, ErrQueueTaken) {
		t.Errorf("got %v", err)
	}
}

func TestRemoveTunnelTakesOnlyOurs(t *testing.T) {
	h := host(t)
	if err := ensure(t, h, spec).Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.RemoveTunnel("dmvpn0"); err != nil {
			t.Fatal(err)
		}
	}
	if out := netnstest.Run(t, "ip -br link"); strings.Contains(out, "dmvpn0") {
		t.Errorf("still there:\n%s", out)
	}
	if err := h.RemoveTunnel("lo"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("lo: got %v", err)
	}
}

// TestTheCarrierIsTakenAndGivenBack, and an adopted device has the one that it had.
func TestTheCarrierIsTakenAndGivenBack(t *testing.T) {
	h := host(t)
	d := ensure(t, h, spec)
	has := func(when string, carrier bool) {
		t.Helper()
		want := "LOWER_UP"
		if !carrier {
			want = "NO-CARRIER"
		}
		if link := netnstest.Run(t, "ip link show dmvpn0"); !strings.Contains(link, want) {
			t.Errorf("%s: no %s:\n%s", when, want, link)
		}
	}
	set := func(d *Device, up bool) {
		t.Helper()
		if err := d.SetCarrier(up); err != nil {
			t.Fatal(err)
		}
	}
	has("at first", true)
	set(d, false)
	has("taken", false)
	kept, err := dup(d.Queues[0]) // as the holder does
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := spec
	again.Queues = []*os.File{kept}
	d = ensure(t, h, again)
	has("adopted", false)
	set(d, true)
	has("given back", true)
	set(d, true)
	has("given twice", true)
	for _, up := range []bool{true, false} {
		set(d, up)
		if _, err := d.OpenQueue(); err != nil {
			t.Fatal(err)
		}
		has("with one more queue", up)
		if err := d.CloseQueue(); err != nil {
			t.Fatal(err)
		}
		has("with one less", up)
	}
}

func dup(f *os.File) (*os.File, error) {
	var fd int
	err := control(f, func(of int) (err error) {
		fd, err = unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
