// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// filterPriority is the place of our filters among others.
const filterPriority = 54

// filterName tells our filters from those of other instances.
func (o Options) filterName(program string) string {
	instance := o.Instance
	if instance == "" {
		instance = "default"
	}
	return program + ":" + instance
}

func (k hook) parent() uint32 {
	if k.ingress {
		return netlink.HANDLE_MIN_INGRESS
	}
	return netlink.HANDLE_MIN_EGRESS
}

// attachClsact attaches as a direct-action filter; the kernel puts it in place
// of ours that is there in one step.
func attachClsact(k hook, program *ebpf.Program, name string) error {
	if err := addClsact(k.device); err != nil {
		return err
	}
	ours, free, err := filters(k, name)
	if err != nil {
		return err
	}
	handle := free
	if len(ours) > 0 {
		handle = ours[0].Handle
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: k.device.Attrs().Index, Parent: k.parent(), Handle: handle,
			Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd: program.FD(), Name: name, DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("add filter: the kernel lacks cls_bpf (CONFIG_NET_CLS_BPF): %w", err)
		}
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

func addClsact(device netlink.Link) error {
	err := netlink.QdiscAdd(clsact(device))
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel has neither TCX (6.6) nor clsact (CONFIG_NET_SCH_INGRESS): %w", err)
	}
	return fmt.Errorf("add qdisc clsact: %w", err)
}

func clsact(device netlink.Link) *netlink.GenericQdisc {
	return &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		},
		QdiscType: "clsact",
	}
}

// filters gives our filters at the hook, and a handle that is free there.
func filters(k hook, name string) (ours []*netlink.BpfFilter, free uint32, err error) {
	all, err := netlink.FilterList(k.device, k.parent())
	if err != nil {
		return nil, 0, fmt.Errorf("list filters: %w", err)
	}
	free = 1
	for _, f := range all {
		filter, ok := f.(*netlink.BpfFilter)
		if !ok || filter.Priority != filterPriority {
			continue
		}
		free = max(free, filter.Handle+1)
		if filter.Name == name {
			ours = append(ours, filter)
		}
	}
	return ours, free, nil
}

// removeFilters removes our filters at the hook, and the qdisc when it has no
// filter left at all.
func removeFilters(k hook, name string) error {
	has, err := hasClsact(k.device)
	if err != nil || !has {
		return err
	}
	ours, _, err := filters(k, name)
	if err != nil || len(ours) == 0 {
		return err
	}
	for _, f := range ours {
		if err := netlink.FilterDel(f); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove filter %s: %w", name, err)
		}
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		if left, err := netlink.FilterList(k.device, parent); err != nil || len(left) > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(clsact(k.device)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove qdisc clsact: %w", err)
	}
	return nil
}

func hasClsact(device netlink.Link) (bool, error) {
	all, err := netlink.QdiscList(device)
	if err != nil {
		return false, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range all {
		if q.Type() == "clsact" {
			return true, nil
		}
	}
	return false, nil
}
