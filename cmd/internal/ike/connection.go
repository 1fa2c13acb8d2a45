// SPDX-License-Identifier: Apache-2.0

package ike

import (
	"fmt"
	"os"
	"time"

	"dmvpn/cmd/internal/config"
	"dmvpn/ikev2"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// Connection makes the policy of one tunnel out of its configuration, and reads the
// files that it names. Errors name the tunnel, the file and the remedy.
func Connection(name string, c *config.IPsec, now time.Time) (*sa.Connection, error) {
	out := &sa.Connection{
		Name: name, IKE: c.IKE, ESP: c.ESP, ForceEncapsulation: c.Encapsulation == "udp", Childless: c.Childless,
		Liveness: orNever(c.DPD), Keepalive: orNever(c.Keepalive), FragmentSize: c.FragmentSize,
		Lifetimes: sa.Lifetimes{
			IKESoft: orNever(c.IKELifetime), ChildSoft: orNever(c.ChildLifetime), Reauthentication: c.Reauthentication,
			SoftBytes: c.ChildBytes, HardBytes: hard(c.ChildBytes), SoftPackets: c.ChildPackets, HardPackets: hard(c.ChildPackets),
		},
	}
	if c.Mode == "tunnel" {
		out.Mode = sa.Tunnel
	}
	fail := func(err error) (*sa.Connection, error) { return nil, fmt.Errorf("%s: ipsec: %w", name, err) }
	if err := identify(out, c); err != nil {
		return fail(err)
	}
	if err := credentials(out, c, now); err != nil {
		return fail(err)
	}
	out.SetDefaults()
	return out, nil
}

// orNever is a duration as sa.Connection has it: there 0 is the default and less than
// 0 never.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// hard is the limit that ends a Child SA whose rekey began at soft.
func hard(soft uint64) uint64 { return soft + soft/10 }

func identify(out *sa.Connection, c *config.IPsec) (err error) {
	name := c.Identity
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return fmt.Errorf("no identity, and no host name: %w; write identity", err)
		}
	}
	if out.Local, err = auth.ParseIdentity(name); err != nil {
		return fmt.Errorf("%w; write identity", err)
	}
	if c.Identity == "" && (name == "localhost" || name == "(none)") {
		return fmt.Errorf("this host is called %s, as many are: write identity, another one for each peer", name)
	}
	for _, text := range c.Peers {
		p, err := auth.ParsePattern(text)
		if err != nil {
			return err
		}
		out.Peers = append(out.Peers, p)
	}
	return nil
}

// credentials reads the files.
func credentials(out *sa.Connection, c *config.IPsec, now time.Time) error {
	secrets := c.Secrets
	if c.PSK != (config.Secret{}) {
		secrets = append(secrets[:len(secrets):len(secrets)], c.PSK)
	}
	for _, s := range secrets {
		key := auth.SharedKey{Key: []byte(s.Text)}
		var err error
		if key.Peer, err = auth.ParsePattern(s.Peer); err != nil {
			return err
		}
		if s.File != "" {
			if key.Key, err = ikev2.LoadSharedKey(s.File); err != nil {
				return err
			}
		}
		out.SharedKeys = append(out.SharedKeys, key)
	}
	var err error
	if c.Certificate != "" {
		if out.Chain, out.Key, err = ikev2.LoadOwn(c.Certificate, c.Key, out.Local, now); err != nil {
			return err
		}
	}
	if len(c.CA) > 0 {
		out.Trust, err = ikev2.LoadTrust(c.CA, c.CRL)
	}
	return err
}
