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

func (c *Cloud) byTCX(node string) ([]string, error) {
	n := c.Get(node)
	links, err := n.Net.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: devices: %w", node, err)
	}
	var names []string
	err = n.Do(func() error {
		for _, l := range links {
			for direction, attach := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
				attached, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: attach})
				if errors.Is(err, ebpf.ErrNotSupported) {
					return nil // before 6.6
				}
				if err != nil {
					return err
				}
				for _, p := range attached.Programs {
					name, err := programName(p.ID)
					if err != nil {
						return err
					}
					names = append(names, l.Attrs().Name+" "+direction+" "+name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: attached programs: %w", node, err)
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

// byFilter reads what bpftool net shows.
func (c *Cloud) byFilter(ctx context.Context, node string) ([]string, error) {
	out, err := c.Get(node).Run(ctx, "bpftool", "-j", "net", "show")
	if err != nil {
		return nil, err
	}
	var shown []struct {
		TC []struct {
			Device string `json:"devname"`
			Kind   string `json:"kind"`
			Name   string `json:"name"`
		} `json:"tc"`
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		return nil, fmt.Errorf("%s: bpftool net: %w", node, err)
	}
	var names []string
	for _, s := range shown {
		for _, p := range s.TC {
			if direction, ok := strings.CutPrefix(p.Kind, "clsact/"); ok {
				names = append(names, p.Device+" "+direction+" "+p.Name)
			}
		}
	}
	return names, nil
}
