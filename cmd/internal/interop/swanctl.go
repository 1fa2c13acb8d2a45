// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"time"
)

// plugins are those of charon's that the trials need: no more, so that it starts
// quickly and does nothing of its own. The first one that has ESP is taken.
const plugins = "random nonce openssl x509 revocation constraints pubkey pkcs1 pkcs8 pem kdf hmac sha1 sha2 aes gcm" +
	" curve25519 chapoly kernel-netlink socket-default vici"

// swanFiles gives strongswan.conf and what is beneath swanctl: the policy and its
// credentials.
func swanFiles(s settings, at, peer place) (map[string][]byte, error) {
	files := map[string][]byte{"strongswan.conf": strongswanConf(s)}
	local, remote := s.names()
	localAuth, remoteAuth, secrets := "psk", "psk", ""
	if s.auth == "psk" {
		secrets = fmt.Sprintf("secrets {\n  ike-both {\n    id-1 = %s\n    id-2 = %s\n    id-3 = %s\n    secret = %q\n  }\n}\n", firstName, secondName, thirdName, s.key)
	} else {
		p, err := certificates(s.auth)
		if err != nil {
			return nil, err
		}
		// Bytes beyond the first certificate of a file are not read: one each.
		files["swanctl/x509ca/ca.pem"] = p.authority
		for i, one := range bytes.SplitAfter(p.intermediates, []byte("-----END CERTIFICATE-----\n")) {
			if len(one) > 0 {
				files[fmt.Sprintf("swanctl/x509ca/ca%d.pem", i)] = one
			}
		}
		files["swanctl/x509/own.pem"] = p.leaves[local]
		files["swanctl/private/own.pem"] = p.keys[local]
		localAuth, remoteAuth = "pubkey\n      certs = own.pem", "pubkey\n      cacerts = ca.pem"
		if s.auth == "rsa-pss" {
			localAuth = "rsa/pss-sha256\n      certs = own.pem"
		}
	}
	mode, here, there := "transport", "dynamic", "dynamic"
	if s.bare {
		mode, here, there = "tunnel", at.overlay.String()+"/32", peer.overlay.String()+"/32"
	}
	// Who asks for too much, in the scenario of cookies, comes from the second prefix.
	from, start, encap, window := peer.seen.String()+", 192.0.2.0/24", "none", "no", 32
	if s.trap {
		// The window is ours: several CPUs forward, each at its own pace.
		from, start, window = "%any", "trap", 1024
	}
	if s.tunnel {
		mode, from = "tunnel", peer.seen.String() // no trap for anybody in this mode
	}
	if s.many {
		remote = anyName
	}
	if s.encap {
		encap = "yes"
	}
	files["swanctl/swanctl.conf"] = fmt.Appendf(nil, `connections {
  dmvpn {
    version = 2
    local_addrs = %s
    remote_addrs = %s
    encap = %s
    proposals = %s
    fragmentation = yes
    rekey_time = 0
    dpd_delay = %d
    local {
      id = %s
      auth = %s
    }
    remote {
      id = %s
      auth = %s
    }
    children {
      gre {
        mode = %s
        local_ts = %s[%s]
        remote_ts = %s[%s]
        esp_proposals = %s
        rekey_time = 0
        dpd_action = clear
        start_action = %s
        replay_window = %d
      }
    }
  }
}
%s`, at.address, from, encap, s.ike, int(s.liveness/time.Second), local, localAuth, remote, remoteAuth,
		mode, here, s.protocol, there, s.protocol, s.esp, start, window, secrets)
	return files, nil
}

func strongswanConf(s settings) []byte {
	var more string
	load := plugins
	if s.bare {
		load = "kernel-libipsec " + plugins
	}
	if s.fragment > 0 {
		more += fmt.Sprintf("  fragment_size = %d\n", s.fragment)
	}
	if s.cookies {
		more += "  cookie_threshold = 1\n"
	}
	if s.keepalive > 0 {
		more += fmt.Sprintf("  keep_alive = %d\n", int(s.keepalive/time.Second))
	}
	// Requests are repeated after 2, 3.6 and 6.5 s, and given up 11.7 s later.
	return fmt.Appendf(nil, `charon {
  load = %s
  install_routes = no
  retransmit_timeout = 2.0
  retransmit_tries = 3
%s  plugins {
    vici {
      socket = unix:///run/charon.vici
    }
  }
  filelog {
    log {
      path = /run/charon.log
      time_format = %%H:%%M:%%S
      ike_name = yes
      flush_line = yes
      default = 1
      mgr = 2
    }
  }
}
swanctl {
  load = random openssl x509 pubkey pkcs1 pkcs8 pem
}
`, load, more)
}
