// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"reflect"
	"slices"

	"dmvpn/cmd/internal/config"
)

// reload takes up what can change while running, and says what cannot.
func (d *daemon) reload() {
	c, err := config.Load(d.config.File)
	if err != nil {
		d.log.Error().Err(err).Msg("SIGHUP: the configuration is wrong, the running one stays")
		return
	}
	setLevel(c.Daemon.LogLevel)
	d.compare(c)
	if err := d.renewCredentials(c); err != nil {
		d.log.Error().Err(err).Msg("SIGHUP: the credentials are wrong, the running ones stay")
		return
	}
	d.log.Info().Str("log-level", c.Daemon.LogLevel).
		Msg("SIGHUP: log-level, keys, certificates and revocation lists are read again; everything else takes effect with a restart")
}

// compare notes where the file says something else than what runs.
func (d *daemon) compare(c *config.Config) {
	for _, t := range d.tunnels {
		text := ""
		switch now := named(c, t.config.Name); {
		case now == nil:
			text = fmt.Sprintf("%s does not name %s any more, and it runs on: restart dmvpnd to remove it", c.File, t.config.Name)
		case !reflect.DeepEqual(fixed(*now), fixed(t.config)):
			text = fmt.Sprintf("%s says something else of %s than when dmvpnd started: restart dmvpnd for it to take effect", c.File, t.config.Name)
		}
		t.problem("file", text)
	}
	for _, t := range c.Tunnels {
		if named(d.config, t.Name) == nil {
			d.log.Warn().Str("tunnel", t.Name).Msgf("SIGHUP: %s names a tunnel that does not run: restart dmvpnd to start it", c.File)
		}
	}
	before, now := d.config.Daemon, c.Daemon
	if before.LogLevel = now.LogLevel; before != now {
		d.log.Warn().Msgf("SIGHUP: [daemon] of %s has changed: restart dmvpnd for it to take effect", c.File)
	}
}

// named is the tunnel of that name; nil: there is none.
func named(c *config.Config, name string) *config.Tunnel {
	i := slices.IndexFunc(c.Tunnels, func(t config.Tunnel) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Tunnels[i]
}

// fixed is a tunnel without what renewCredentials takes up.
func fixed(t config.Tunnel) config.Tunnel {
	if t.IPsec != nil {
		i := *t.IPsec
		i.PSK, i.Secrets, i.Certificate, i.Key, i.CA, i.CRL, i.Peers = config.Secret{}, nil, "", "", nil, nil, nil
		t.IPsec = &i
	}
	return t
}
