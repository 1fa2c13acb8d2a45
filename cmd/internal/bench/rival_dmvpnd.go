// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
	"dmvpn/cmd/internal/lab/cloud"
)

// dmvpnd is ours: the daemon as it is installed, a hub and a spoke.
type dmvpnd struct {
	course  *course
	program string
	running []*lab.Process
}

func (d *dmvpnd) device() string            { return "dmvpn0" }
func (d *dmvpnd) processes() []*lab.Process { return d.running }

func (d *dmvpnd) start(context.Context) error {
	for _, e := range []end{endA, endB} {
		node := d.course.node(e)
		key, file := filepath.Join(node.Dir, "psk"), filepath.Join(node.Dir, "dmvpnd.toml")
		t := cloud.Tunnel{
			Name: d.device(), Address: e.tunnel + "/24", Key: 42, Underlay: "wan0", MTU: innerMTU,
			Networks: []string{e.site}, IdleBytes: -1,
			IPsec: &cloud.IPsec{Identity: e.name + ".example.net", PSKFile: key, Lines: []string{`esp = "aes128gcm16-x25519"`}},
		}
		if e == endB {
			t.NHS = []cloud.NHS{{NBMA: gatewayA, Routes: []string{siteA}}}
		}
		if err := os.WriteFile(key, []byte("the key of both gateways\n"), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(cloud.Settings{LogLevel: "info", Tunnels: []cloud.Tunnel{t}}.TOML()), 0o644); err != nil {
			return err
		}
		p, err := node.Launch("dmvpnd", d.program, "-c", file)
		if err != nil {
			return err
		}
		d.running = append(d.running, p)
	}
	return nil
}

func (d *dmvpnd) received(ctx context.Context) (octets uint64, err error) {
	client := control.NewClient(filepath.Join(d.course.b.Dir, "run", "default", "control.sock"))
	defer client.Close()
	stats, err := client.Stats(ctx)
	for _, t := range stats.Tunnels {
		octets += t.Data.RxBytes
	}
	return octets, err
}
