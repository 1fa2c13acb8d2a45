// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"dmvpn/loader/tables"
)

// ErrInUse says that another instance receives for the same address and key.
var ErrInUse = errors.New("is already in use")

// CheckOthers looks whether another instance with pins on this bpffs receives at
// the tunnel's underlay device for the same local address and key: of two, the one
// that was attached first would take all packets. It wraps ErrInUse.
func (p *Plane) CheckOthers(u tables.Tunnel) error {
	device, err := netlink.LinkByIndex(u.UnderlayIfIndex)
	if err != nil {
		return fmt.Errorf("loader: underlay device with index %d: %w", u.UnderlayIfIndex, err)
	}
	all, err := os.ReadDir(filepath.Dir(p.options.dir()))
	if err != nil {
		return fmt.Errorf("loader: %w", err)
	}
	for _, e := range all {
		other := Options{BPFFS: p.options.BPFFS, Instance: unpinName(e.Name())}
		if other.dir() == p.options.dir() || !other.receivesAt(device) {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(other.dir(), tables.MapTunnel), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			continue // it is being taken down, or of another version
		}
		at, taken := tables.Holds(m, u)
		_ = m.Close()
		if taken {
			return fmt.Errorf("loader: underlay address %s with this key %w by instance %s: give the tunnel another key, or take that one down (dmvpn --instance %s teardown)",
				at, ErrInUse, other.Instance, other.Instance)
		}
	}
	return nil
}

// receivesAt says whether the instance's program stands at the ingress of this
// very device; one of the same name may be in another network namespace.
func (o Options) receivesAt(device netlink.Link) bool {
	k := hook{device, progDecap, true}
	if has, err := hasClsact(device); err == nil && has {
		if ours, _, err := filters(k, o.filterName(progDecap)); err == nil && len(ours) > 0 {
			return true
		}
	}
	l, err := link.LoadPinnedLink(filepath.Join(o.device(device.Attrs().Name), progDecap+linkSuffix), nil)
	if err != nil {
		return false
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false
	}
	here, err := link.QueryPrograms(link.QueryOptions{Target: device.Attrs().Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return false
	}
	for _, program := range here.Programs {
		if id, ok := program.LinkID(); ok && id == info.ID {
			return true
		}
	}
	return false
}
