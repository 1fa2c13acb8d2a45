// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/lab"
)

// ours is our IKE: ikepeer.
type ours struct {
	program  string // ikepeer
	at, peer place
	remote   string // the peer's identity
	client   *control.Client
	process  *lab.Process
}

func (o *ours) dir() string { return filepath.Join(o.at.node.Dir, "ours") }

func (o *ours) start(ctx context.Context, policy settings) error {
	_, o.remote = policy.names()
	files, err := ourFiles(policy, o.dir())
	if err != nil {
		return err
	}
	if err := writeFiles(o.dir(), files); err != nil {
		return err
	}
	socket := filepath.Join(o.dir(), "control.sock")
	arguments := []string{"-c", filepath.Join(o.dir(), "ipsec.toml"), "--identity", o.remote, "--run-dir", o.dir(), "--socket", socket,
		"--installer", "xfrm", "--passive"}
	here, there := o.at.address, o.peer.seen
	if policy.bare {
		arguments[slices.Index(arguments, "xfrm")] = "plain"
		here, there = o.at.overlay, o.peer.overlay
	}
	if policy.bare || policy.protocol != gre {
		arguments = append(arguments, "--here", here.String()+"/32:"+policy.protocol, "--there", there.String()+"/32:"+policy.protocol)
	}
	if o.process, err = o.at.node.Launch("ikepeer", o.program, arguments...); err != nil {
		return err
	}
	o.client = control.NewClient(socket)
	for {
		if _, err = o.client.IKE(ctx); err == nil {
			return nil
		}
		select {
		case <-o.process.Done():
			return fmt.Errorf("ikepeer does not start: %s", o.process.Output())
		case <-ctx.Done():
			return fmt.Errorf("ikepeer does not start: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ourFiles gives ipsec.toml and the credentials, which will be beneath folder.
func ourFiles(s settings, folder string) (map[string][]byte, error) {
	local, remote := s.names()
	files := map[string][]byte{}
	var c strings.Builder
	line := func(key, value string) { fmt.Fprintf(&c, "%s = %s\n", key, strconv.Quote(value)) }
	seconds := func(key string, d time.Duration) {
		if d == 0 {
			line(key, "never")
		} else {
			line(key, d.String())
		}
	}
	c.WriteString("[ipsec]\n")
	line("identity", local)
	line("ike", s.ike)
	line("esp", s.esp)
	line("encapsulation", "raw")
	if s.bare {
		line("mode", "tunnel")
	}
	seconds("dpd", s.liveness)
	seconds("keepalive", s.keepalive)
	if s.fragment > 0 {
		fmt.Fprintf(&c, "fragment-size = %d\n", s.fragment)
	}
	if s.auth == "psk" {
		c.WriteString("[[ipsec.secret]]\n")
		line("peer", remote)
		line("psk-file", filepath.Join(folder, "psk"))
		files["psk"] = []byte(s.key)
	} else {
		p, err := certificates(s.auth)
		if err != nil {
			return nil, err
		}
		files["own.pem"], files["own.key"], files["ca.pem"] = append(p.leaves[local], p.intermediates...), p.keys[local], p.authority
		line("certificate", filepath.Join(folder, "own.pem"))
		line("key", filepath.Join(folder, "own.key"))
		fmt.Fprintf(&c, "ca = [%q]\n", filepath.Join(folder, "ca.pem"))
	}
	files["ipsec.toml"] = []byte(c.String())
	return files, nil
}

func (o *ours) kill(ctx context.Context) error { return kill(ctx, o.process) }

func kill(ctx context.Context, p *lab.Process) error {
	if err := p.Signal(os.Kill); err != nil {
		return err
	}
	_, err := p.Wait(ctx)
	return err
}

func (o *ours) connect(ctx context.Context) error {
	return o.client.Post(ctx, "ike/connect?host="+url.QueryEscape(o.peer.seen.String()))
}

func (o *ours) rekeyIKE(ctx context.Context) error {
	_, err := o.client.IKERekey(ctx, o.remote, false)
	return err
}

func (o *ours) rekeyChild(ctx context.Context) error {
	_, err := o.client.IKERekey(ctx, o.remote, true)
	return err
}

func (o *ours) deleteIKE(ctx context.Context) error {
	_, err := o.client.IKETerminate(ctx, o.remote, false)
	return err
}

func (o *ours) deleteChild(ctx context.Context) error {
	_, err := o.client.IKETerminate(ctx, o.remote, true)
	return err
}

func (o *ours) sas() ([]ikeSA, error) { return established(o.client) }

// established asks a program of ours for its SAs.
func established(client *control.Client) ([]ikeSA, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := client.IKE(ctx)
	if err != nil {
		return nil, err
	}
	var all []ikeSA
	for _, s := range answer.SAs {
		if s.State != control.IKEEstablished {
			continue
		}
		ike := ikeSA{initiator: s.SPIi, responder: s.SPIr}
		for _, c := range s.Children {
			// One that is being replaced still takes late packets.
			if c.State == "installed" || c.State == "active" {
				ike.children = append(ike.children, childSA{in: c.Inbound, out: c.Outbound, encap: c.Encapsulation})
			}
		}
		all = append(all, ike)
	}
	return all, nil
}

func (o *ours) transcript() string {
	if o.process == nil {
		return "not started\n"
	}
	return o.process.Output()
}
