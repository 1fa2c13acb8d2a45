// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
)

// daemon is all of ours: dmvpnd, a hub at the second place, a spoke elsewhere.
type daemon struct {
	program  string // dmvpnd
	at, peer place
	remote   string // the peer's identity
	spoke    bool
	spokes   int // of a hub
	client   *control.Client
	process  *lab.Process
}

func (d *daemon) start(ctx context.Context, policy settings) error {
	_, d.remote = policy.names()
	d.spoke, d.spokes = policy.first || policy.third, 1
	if policy.many {
		d.spokes = 2
	}
	file := filepath.Join(d.at.node.Dir, "dmvpn.toml")
	psk := filepath.Join(d.at.node.Dir, "psk")
	if err := os.WriteFile(psk, []byte(policy.key), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(file, daemonConf(policy, d.at, psk), 0o644); err != nil {
		return err
	}
	var err error
	if d.process, err = d.at.node.Launch("dmvpnd", d.program, "-c", file); err != nil {
		return err
	}
	d.client = control.NewClient(filepath.Join(d.at.node.Dir, "run", "default", "control.sock"))
	for {
		if _, err = d.client.Status(ctx); err == nil {
			return nil
		}
		select {
		case <-d.process.Done():
			return fmt.Errorf("dmvpnd does not start: %s", d.process.Output())
		case <-ctx.Done():
			return fmt.Errorf("dmvpnd does not start: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// daemonConf is dmvpn.toml.
func daemonConf(s settings, at place, psk string) []byte {
	local, _ := s.names()
	var c strings.Builder
	fmt.Fprintf(&c, `[daemon]
log-level = "debug"

[tunnel.dmvpn0]
address = "%v%s"
key = %d
underlay = { device = "eth0" }
networks = ["%v"]
holding-time = "30s"

[tunnel.dmvpn0.ipsec]
identity = %q
psk-file = %q
encapsulation = %q
ike = %q
esp = %q
`, at.overlay, grePrefix, greKey, at.lan, local, psk, encapsulation(s), s.ike, s.esp)
	if s.tunnel {
		c.WriteString("mode = \"tunnel\"\n")
	}
	if s.liveness > 0 {
		fmt.Fprintf(&c, "dpd = %q\n", s.liveness)
	}
	if s.first || s.third {
		fmt.Fprintf(&c, "\n[[tunnel.dmvpn0.nhs]]\nnbma = %q\nprotocol = %q\nroutes = [%q]\n", secondAddress, secondOverlay, lans)
	}
	return []byte(c.String())
}

func encapsulation(s settings) string {
	if s.raw {
		return "raw"
	}
	return "udp"
}

func (d *daemon) kill(ctx context.Context) error { return kill(ctx, d.process) }

// connect waits: a spoke connects by itself, and a hub does not.
func (d *daemon) connect(ctx context.Context) error {
	for {
		err := d.registered(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// registered is nil if NHRP stands, inside of ESP.
func (d *daemon) registered(ctx context.Context) error {
	s, err := d.client.Status(ctx)
	switch {
	case err != nil:
		return err
	case len(s.Tunnels) != 1:
		return fmt.Errorf("%d tunnels", len(s.Tunnels))
	case d.spoke && s.Tunnels[0].NHSUp == 0:
		return fmt.Errorf("the hub does not answer: %v", s.Tunnels[0].Problems)
	case !d.spoke && s.Tunnels[0].Registered < d.spokes:
		return fmt.Errorf("%d spokes of %d are registered: %v", s.Tunnels[0].Registered, d.spokes, s.Tunnels[0].Problems)
	}
	return nil
}

func (d *daemon) rekeyIKE(ctx context.Context) error {
	return meant(d.client.IKERekey(ctx, d.remote, false))
}
func (d *daemon) rekeyChild(ctx context.Context) error {
	return meant(d.client.IKERekey(ctx, d.remote, true))
}
func (d *daemon) deleteIKE(ctx context.Context) error {
	return meant(d.client.IKETerminate(ctx, d.remote, false))
}
func (d *daemon) deleteChild(ctx context.Context) error {
	return meant(d.client.IKETerminate(ctx, d.remote, true))
}

func meant(done control.IKEDone, err error) error {
	if err == nil && done.SAs == 0 {
		err = fmt.Errorf("no SA was meant")
	}
	return err
}

func (d *daemon) sas() ([]ikeSA, error) { return established(d.client) }

func (d *daemon) transcript() string {
	if d.process == nil {
		return "not started\n"
	}
	return d.process.Output() + d.counters()
}

// counters are those of what was dropped, and of IKE and ESP.
func (d *daemon) counters() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	drops, err := d.client.Drops(ctx)
	if err != nil {
		return err.Error() + "\n"
	}
	answer, err := d.client.IKE(ctx)
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("--- dropped\n%+v\n--- counters\n%v\n", drops, answer.Counters)
}
