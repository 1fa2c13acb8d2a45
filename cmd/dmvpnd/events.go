// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/loader"
	"dmvpn/loader/underlay"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
)

// readEvents hands the programs' reports to the machines.
func (d *daemon) readEvents() {
	byIndex := map[int]*tunnel{}
	for _, t := range d.tunnels {
		byIndex[t.device.Index] = t
	}
	unknown := d.log.Sample(&zerolog.BurstSampler{Burst: 1, Period: 10 * time.Second})
	for {
		e, err := d.plane.ReadEvent()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			d.fail(fmt.Errorf("reports of the programs: %w", err))
			return
		}
		t := byIndex[e.Tunnel]
		if t == nil {
			continue
		}
		switch e.Kind {
		case loader.EventRedirect:
			t.handIn(engine.Redirect{Data: e.Packet})
		case loader.EventMiss:
			t.handIn(engine.Miss{NextHop: e.Address, Data: e.Packet})
		case loader.EventUnknownSPI:
			if spi, local, remote, ok := underlay.ParseStray(e.Packet); ok && d.installer != nil {
				d.installer.unknown(spi, local, remote)
			}
		case loader.EventUnknownNBMA:
			unknown.Info().Str("tunnel", t.config.Name).Stringer("nbma", e.Address).Msg("GRE data dropped from an address that is not registered")
		}
	}
}

// followRoutes tells the machines when the kernel's routes change.
func (d *daemon) followRoutes() {
	for range d.mirror.Changed() {
		for _, t := range d.tunnels {
			t.each((*nhrpd.Service).RoutesChanged)
			if t.secure != nil {
				t.secure.sources.changed()
			}
		}
		d.lookAgain()
	}
}
