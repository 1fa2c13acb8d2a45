// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"dmvpn/cmd/internal/interop/vici"
	"dmvpn/cmd/internal/lab"
)

// libipsec is strongSwan with ESP in its own process, out of a root file system of
// Debian's.
type libipsec struct {
	course  *course
	root    string
	running []*lab.Process
}

func (s *libipsec) device() string            { return "ipsec0" }
func (s *libipsec) processes() []*lab.Process { return s.running }

// The plugins are those that are needed; OpenSSL has AES-GCM, which the first that has
// it gives.
const swanConf = `charon {
  load = kernel-libipsec random nonce openssl pubkey kdf hmac sha2 aes gcm curve25519 kernel-netlink socket-default vici
  install_routes = no
  plugins {
    vici {
      socket = unix:///run/charon.vici
    }
  }
  filelog {
    stderr {
      default = 1
    }
  }
}
swanctl {
  load = random openssl
}
`

func swanctlConf(self, peer end) string {
	return fmt.Sprintf(`connections {
  bench {
    version = 2
    local_addrs = %s
    remote_addrs = %s
    proposals = aes128gcm16-prfsha256-x25519
    rekey_time = 0
    local {
      id = %s.example.net
      auth = psk
    }
    remote {
      id = %s.example.net
      auth = psk
    }
    children {
      site {
        local_ts = %s
        remote_ts = %s
        esp_proposals = aes128gcm16
        rekey_time = 0
      }
    }
  }
}
secrets {
  ike-both {
    secret = "the key of both gateways"
  }
}
`, self.gateway, peer.gateway, self.name, peer.name, self.site, peer.site)
}

func (s *libipsec) start(ctx context.Context) error {
	for _, e := range [][2]end{{endA, endB}, {endB, endA}} {
		if err := s.charon(ctx, e[0], e[1]); err != nil {
			return err
		}
	}
	if _, _, err := vici.Call(s.socket(s.course.b), "initiate", vici.Message{"child": "site", "ike": "bench", "timeout": "20000", "loglevel": "-1"}, "", 30*time.Second); err != nil {
		return err
	}
	for _, step := range []func(self, peer end) []string{
		func(end, end) []string {
			return []string{"ip", "link", "set", s.device(), "mtu", fmt.Sprint(innerMTU), "up"}
		},
		func(_, peer end) []string { return []string{"ip", "route", "add", peer.site, "dev", s.device()} },
	} {
		if err := s.course.both(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (s *libipsec) dir(n *lab.Node) string    { return filepath.Join(n.Dir, "swan") }
func (s *libipsec) socket(n *lab.Node) string { return filepath.Join(s.dir(n), "run", "charon.vici") }

// charon starts it at one end, with a /run and a configuration of its own.
func (s *libipsec) charon(ctx context.Context, self, peer end) error {
	node := s.course.node(self)
	dir := s.dir(node)
	for _, d := range []string{"run", "swanctl"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{"strongswan.conf": swanConf, "swanctl/swanctl.conf": swanctlConf(self, peer)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	for inside, outside := range map[string]string{
		"dev": "/dev", "proc": "/proc", "sys": "/sys", "run": filepath.Join(dir, "run"),
		"etc/swanctl": filepath.Join(dir, "swanctl"), "etc/strongswan.conf": filepath.Join(dir, "strongswan.conf"),
	} {
		node.Bind(filepath.Join(s.root, inside), outside)
	}
	p, err := node.Launch("charon", "chroot", s.root, "/usr/lib/ipsec/charon")
	if err != nil {
		return err
	}
	s.running = append(s.running, p)
	for {
		if _, _, err = vici.Call(s.socket(node), "version", nil, "", time.Second); err == nil {
			break
		}
		select {
		case <-p.Done():
			return fmt.Errorf("charon does not start: %s", p.Output())
		case <-ctx.Done():
			return fmt.Errorf("charon does not start: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	out, err := node.Run(ctx, "chroot", s.root, "/usr/sbin/swanctl", "--load-all")
	if err == nil && !strings.Contains(out, "successfully loaded 1 connections, 0 unloaded") {
		err = fmt.Errorf("swanctl --load-all: %s", out)
	}
	return err
}

func (s *libipsec) received(context.Context) (octets uint64, err error) {
	_, events, err := vici.Call(s.socket(s.course.b), "list-sas", nil, "list-sa", 10*time.Second)
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		children := e.Section("bench").Section("child-sas")
		for name := range children {
			n, err := strconv.ParseUint(children.Section(name).Text("bytes-in"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("charon's account of an SA: %w", err)
			}
			octets += n
		}
	}
	return octets, nil
}
