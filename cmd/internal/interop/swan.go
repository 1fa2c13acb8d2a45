// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dmvpn/cmd/internal/interop/vici"
	"dmvpn/cmd/internal/lab"
)

// swan is strongSwan: charon and swanctl out of a root file system of Debian's,
// with a /run and an /etc/swanctl of the node's own.
type swan struct {
	root    string
	at      place
	peer    place
	process *lab.Process
}

// swanWait is how long charon may take over one command: it repeats a request for
// 23 s before it gives up (swanctl.go).
const swanWait = 40 * time.Second

func (s *swan) dir() string    { return filepath.Join(s.at.node.Dir, "swan") }
func (s *swan) run() string    { return filepath.Join(s.dir(), "run") }
func (s *swan) socket() string { return filepath.Join(s.run(), "charon.vici") }

func (s *swan) start(ctx context.Context, policy settings) error {
	files, err := swanFiles(policy, s.at, s.peer)
	if err != nil {
		return err
	}
	if err := writeFiles(s.dir(), files); err != nil {
		return err
	}
	if err := os.MkdirAll(s.run(), 0o755); err != nil {
		return err
	}
	for inside, outside := range map[string]string{
		"dev": "/dev", "proc": "/proc", "sys": "/sys", "run": s.run(),
		"etc/swanctl": filepath.Join(s.dir(), "swanctl"), "etc/strongswan.conf": filepath.Join(s.dir(), "strongswan.conf"),
	} {
		s.at.node.Bind(filepath.Join(s.root, inside), outside)
	}
	if s.process, err = s.at.node.Launch("charon", "chroot", s.root, "/usr/lib/ipsec/charon"); err != nil {
		return err
	}
	for {
		if _, _, err = vici.Call(s.socket(), "version", nil, "", time.Second); err == nil {
			break
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("charon does not start: %s", s.process.Output())
		case <-ctx.Done():
			return fmt.Errorf("charon does not start: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	// swanctl ends with 0 although a connection could not be loaded.
	out, err := s.at.node.Run(ctx, "chroot", s.root, "/usr/sbin/swanctl", "--load-all")
	if err == nil && !strings.Contains(out, "successfully loaded 1 connections, 0 unloaded") {
		err = errors.New("a connection is not loaded")
	}
	if err != nil {
		return fmt.Errorf("swanctl --load-all: %w: %s", err, out)
	}
	return nil
}

func (s *swan) kill(ctx context.Context) error { return kill(ctx, s.process) }

func (s *swan) command(name string, arguments vici.Message) error {
	_, _, err := vici.Call(s.socket(), name, arguments, "", swanWait)
	return err
}

func (s *swan) connect(context.Context) error {
	return s.command("initiate", vici.Message{"child": "gre", "ike": "dmvpn", "timeout": "35000", "loglevel": "-1"})
}
func (s *swan) rekeyIKE(context.Context) error {
	return s.command("rekey", vici.Message{"ike": "dmvpn"})
}
func (s *swan) rekeyChild(context.Context) error {
	return s.command("rekey", vici.Message{"child": "gre"})
}
func (s *swan) deleteIKE(context.Context) error {
	return s.command("terminate", vici.Message{"ike": "dmvpn", "timeout": "35000", "loglevel": "-1"})
}
func (s *swan) deleteChild(context.Context) error {
	return s.command("terminate", vici.Message{"child": "gre", "timeout": "35000", "loglevel": "-1"})
}

func (s *swan) sas() ([]ikeSA, error) {
	_, events, err := vici.Call(s.socket(), "list-sas", nil, "list-sa", 10*time.Second)
	if err != nil {
		return nil, err
	}
	var all []ikeSA
	for _, e := range events {
		for name := range e {
			sa := e.Section(name)
			if sa.Text("state") != "ESTABLISHED" {
				continue
			}
			ike := ikeSA{initiator: sa.Text("initiator-spi"), responder: sa.Text("responder-spi")}
			children := sa.Section("child-sas")
			for id := range children {
				// A rekeyed one still takes late packets for 5 s.
				if c := children.Section(id); c.Text("state") == "INSTALLED" || c.Text("state") == "REKEYING" {
					ike.children = append(ike.children, childSA{in: c.Text("spi-in"), out: c.Text("spi-out"), encap: c.Text("encap") == "yes"})
				}
			}
			all = append(all, ike)
		}
	}
	return all, nil
}

// extended says whether all Child SAs have extended sequence numbers.
func (s *swan) extended() (bool, error) {
	_, events, err := vici.Call(s.socket(), "list-sas", nil, "list-sa", 10*time.Second)
	all, extended := 0, 0
	for _, e := range events {
		for name := range e {
			children := e.Section(name).Section("child-sas")
			for id := range children {
				if all++; children.Section(id).Text("esn") == "1" {
					extended++
				}
			}
		}
	}
	return all > 0 && all == extended, err
}

func (s *swan) transcript() string {
	b, err := os.ReadFile(filepath.Join(s.run(), "charon.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
