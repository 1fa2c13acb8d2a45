// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"dmvpn/loader/kernel"
	"dmvpn/loader/netnstest"
	"dmvpn/loader/tables"
)

func TestMain(m *testing.M) {
	if probeChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// machine is a namespace with a tunnel device and an underlay device.
type machine struct {
	host             *kernel.Host
	device           *kernel.Device
	options          Options
	tunnel, underlay int
}

// dmvpn0 10.0.0.11/24 … w0 192.0.2.11/24 ───── w1
func newMachine(t *testing.T) *machine {
	t.Helper()
	netnstest.Enter(t)
	netnstest.Run(t, "ip link add w0 type veth peer name w1")
	netnstest.Run(t, "ip address add 192.0.2.11/24 dev w0")
	netnstest.Run(t, "ip link set w1 up")
	netnstest.Run(t, "ip link set w0 up")
	host, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	d, err := host.EnsureTunnel(kernel.TunnelSpec{Name: "dmvpn0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24")}, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	u, err := host.Underlay(kernel.UnderlaySpec{Device: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	return &machine{host, d, Options{BPFFS: netnstest.BPFFS(t), Instance: "test"}, d.Index, u.Index}
}

func open(t *testing.T, o Options) *Plane {
	t.Helper()
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (m *machine) attach(t *testing.T, p *Plane) {
	t.Helper()
	if err := p.AttachTunnel(m.tunnel, false); err != nil {
		t.Fatal(err)
	}
	if err := p.AttachUnderlay(m.underlay); err != nil {
		t.Fatal(err)
	}
}

// pins lists what is pinned below the instance.
func (m *machine) pins(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(m.options.BPFFS, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".debug") { // the kernel's own
			rel, _ := filepath.Rel(m.options.BPFFS, path)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// running lists what runs at the devices: by clsact as bpftool says it, by TCX
// as the kernel does, since bpftool 7.1 does not know it.
func (m *machine) running(t *testing.T) string {
	t.Helper()
	out := netnstest.Run(t, "bpftool net show")
	for ifindex, at := range map[int]ebpf.AttachType{m.tunnel: ebpf.AttachTCXEgress, m.underlay: ebpf.AttachTCXIngress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: at})
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, attached := range result.Programs {
			program, err := ebpf.NewProgramFromID(attached.ID)
			if err != nil {
				t.Fatal(err)
			}
			info, err := program.Info()
			if err != nil {
				t.Fatal(err)
			}
			out += fmt.Sprintf("tcx/%d %s id %d\n", ifindex, info.Name, attached.ID)
			_ = program.Close()
		}
	}
	return out
}

func TestProgramsStayWhenTheDaemonIsAwayAndAreAdopted(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		t.Run(map[bool]string{false: "by TCX", true: "by clsact"}[clsact], func(t *testing.T) {
			m := newMachine(t)
			m.options.Clsact = clsact
			p := open(t, m.options)
			m.attach(t, p)
			local := netip.MustParseAddr("192.0.2.11")
			if err := p.Tables.SetTunnel(tables.Tunnel{IfIndex: m.tunnel, UnderlayIfIndex: m.underlay, Local: local, MTU: 1400}); err != nil {
				t.Fatal(err)
			}
			id, err := p.Tables.Admit(m.tunnel, tables.Endpoint{NBMA: netip.MustParseAddr("192.0.2.1")}, netip.Addr{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			before := m.running(t)
			for _, want := range []string{"dmvpn_encap", "dmvpn_decap"} {
				if strings.Count(before, want) != 1 {
					t.Errorf("%s should run once:\n%s", want, before)
				}
			}
			again := open(t, m.options)
			if got, ok := again.Tables.ID(m.tunnel, tables.Endpoint{NBMA: netip.MustParseAddr("192.0.2.1")}); !ok || got != id {
				t.Errorf("the peer has id %d, before %d", got, id)
			}
			m.attach(t, again)
			after := m.running(t)
			if after == before || strings.Count(after, "dmvpn_encap") != 1 || strings.Count(after, "dmvpn_decap") != 1 {
				t.Errorf("each program should be replaced:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func TestTheOtherWayOfAttachingReplacesTheFirst(t *testing.T) {
	m := newMachine(t)
	for _, clsact := range []bool{false, true, false} {
		m.options.Clsact = clsact
		p := open(t, m.options)
		m.attach(t, p)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		way := map[bool]string{false: "tcx/", true: "clsact/"}[clsact]
		if got := m.running(t); strings.Count(got, "dmvpn_") != 2 || strings.Count(got, way) != 2 {
			t.Errorf("clsact %v:\n%s", clsact, got)
		}
	}
	if qdiscs := netnstest.Run(t, "tc qdisc show dev w0"); strings.Contains(qdiscs, "clsact") {
		t.Errorf("the qdisc was left:\n%s", qdiscs)
	}
}

func TestTeardownLeavesNothing(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		m := newMachine(t)
		m.options.Clsact = clsact
		p := open(t, m.options)
		m.attach(t, p)
		if err := m.host.InstallRoute(netip.MustParsePrefix("10.10.2.0/24"), netip.MustParseAddr("10.0.0.1"), m.tunnel); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if pins := m.pins(t); len(pins) < 11 {
			t.Errorf("pins before: %v", pins)
		}
		for range 2 {
			if err := Teardown(m.options); err != nil {
				t.Fatal(err)
			}
		}
		left := append(m.pins(t), strings.Fields(netnstest.Run(t, "ip route show proto 54"))...)
		if entries, _ := os.ReadDir(m.options.BPFFS); len(left) > 0 || len(entries) > 2 {
			t.Errorf("left: %v %v", left, entries)
		}
		if got := m.running(t) + netnstest.Run(t, "ip -br link") + netnstest.Run(t, "tc qdisc show dev w0"); strings.Contains(got, "dmvpn") || strings.Contains(got, "clsact") {
			t.Errorf("left:\n%s", got)
		}
	}
}

func TestAnUnderlayIsReleasedByItsLastTunnel(t *testing.T) {
	m := newMachine(t)
	p := open(t, m.options)
	m.attach(t, p)
	tunnel := tables.Tunnel{IfIndex: m.tunnel, UnderlayIfIndex: m.underlay, Local: netip.MustParseAddr("192.0.2.11")}
	if err := p.Tables.SetTunnel(tunnel); err != nil {
		t.Fatal(err)
	}
	release := func(want int) {
		t.Helper()
		if err := p.ReleaseUnderlay(m.underlay); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(m.running(t), "dmvpn_decap"); got != want {
			t.Errorf("%d programs at the underlay, want %d", got, want)
		}
	}
	release(1)
	if err := p.Tables.DeleteTunnel(m.tunnel); err != nil {
		t.Fatal(err)
	}
	release(0)
	release(0)
}

func TestAnAddressAndKeyOfAnotherInstanceAreRefused(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		m := newMachine(t)
		m.options.Clsact = clsact
		first := open(t, m.options)
		m.attach(t, first)
		tunnel := tables.Tunnel{IfIndex: m.tunnel, UnderlayIfIndex: m.underlay, Local: netip.MustParseAddr("192.0.2.11"), Key: 42, HasKey: true}
		if err := first.Tables.SetTunnel(tunnel); err != nil {
			t.Fatal(err)
		}
		if err := first.CheckOthers(tunnel); err != nil {
			t.Errorf("its own: %v", err)
		}
		options := m.options
		options.Instance = "left"
		second := open(t, options)
		if err := second.CheckOthers(tunnel); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "by instance test") {
			t.Errorf("clsact %v: got %v", clsact, err)
		}
		other := tunnel
		other.Key = 43
		if err := second.CheckOthers(other); err != nil {
			t.Errorf("another key: %v", err)
		}
		// A device of the same name and number in another namespace is another device.
		netnstest.Enter(t)
		netnstest.Run(t, "ip link add w0 index "+fmt.Sprint(m.underlay)+" type veth peer name w1")
		if err := second.CheckOthers(tunnel); err != nil {
			t.Errorf("clsact %v, in another namespace: %v", clsact, err)
		}
	}
}

func TestPinsOfDevicesThatAreGoneAreSwept(t *testing.T) {
	m := newMachine(t)
	p := open(t, m.options)
	m.attach(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, "ip link del w0")
	netnstest.Run(t, "ip link add w0 type veth peer name w1")
	p = open(t, m.options)
	if pins := m.pins(t); strings.Contains(strings.Join(pins, " "), "dev/w0") {
		t.Errorf("still pinned: %v", pins)
	}
	u, err := m.host.Underlay(kernel.UnderlaySpec{Device: "w0"})
	if !errors.Is(err, kernel.ErrNoAddress) {
		t.Fatal(err)
	}
	if err := p.AttachUnderlay(u.Index); err != nil {
		t.Fatal(err)
	}
}

func TestPinsOfAnotherVersionAreRefused(t *testing.T) {
	m := newMachine(t)
	dir := m.options.dir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	netnstest.Run(t, "bpftool map create "+dir+"/dmvpn_nexthop type hash key 4 value 4 entries 1 name dmvpn_nexthop")
	_, err := Open(m.options)
	if err == nil || !strings.Contains(err.Error(), "made by another version of dmvpnd") || !strings.Contains(err.Error(), "dmvpn teardown") {
		t.Errorf("got %v", err)
	}
	if err := Teardown(m.options); err != nil {
		t.Fatal(err)
	}
	open(t, m.options)
}
