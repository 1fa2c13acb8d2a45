// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// Attached names our programs on a node's devices, each as "device direction
// program", however they are attached. Only recent versions of bpftool show
// what is attached by TCX, so that the kernel is asked for those.
func (c *Cloud) Attached(ctx context.Context, node string) ([]string, error) {
	names, err := c.byTCX(node)
	if err != nil {
		return nil, err
	}
	classic, err := c.byFilter(ctx, node)
	return append(names, classic...), err
}

func (c *Cloud) byTCX(node string) (names []string, err error) {
	err = c.Get(node).Do(func() (err error) {
		names, err = ByTCX()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: attached programs: %w", node, err)
	}
	return names, nil
}

// ByTCX names what Attached does, as far as it is attached by TCX, in the network
// namespace of the calling thread.
func ByTCX() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	var names []string
	for _, l := range links {
		for direction, attach := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
			attached, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: attach})
			if errors.Is(err, ebpf.ErrNotSupported) {
				return nil, nil // before 6.6
			}
			if err != nil {
				return nil, err
			}
			for _, p := range attached.Programs {
				name, err := programName(p.ID)
				if err != nil {
					return nil, err
				}
				names = append(names, l.Attrs().Name+" "+direction+" "+name)
			}
		}
	}
	return names, nil
}

func programName(id ebpf.ProgramID) (string, error) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "", err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return "", err
	}
	return info.Name, nil
}

func (c *Cloud) byFilter(ctx context.Context, node string) ([]string, error) {
	out, err := c.Get(node).Run(ctx, "bpftool", "-j", "net", "show")
	if err != nil {
		return nil, err
	}
	names, err := ByFilter([]byte(out))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node, err)
	}
	return names, nil
}

// ByFilter names what Attached does, as far as it is attached by clsact: shown is
// what bpftool -j net show prints.
func ByFilter(shown []byte) ([]string, error) {
	var all []struct {
		TC []struct {
			Device string `json:"devname"`
			Kind   string `json:"kind"`
			Name   string `json:"name"`
		} `json:"tc"`
	}
	if err := json.Unmarshal(shown, &all); err != nil {
		return nil, fmt.Errorf("bpftool net: %w", err)
	}
	var names []string
	for _, s := range all {
		for _, p := range s.TC {
			if direction, ok := strings.CutPrefix(p.Kind, "clsact/"); ok {
				names = append(names, p.Device+" "+direction+" "+p.Name)
			}
		}
	}
	return names, nil
}
