// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"time"

	"dmvpn/loader/holder"
)

// holderRetry is the time between two attempts to have a holder.
const holderRetry = 5 * time.Second

func (d *daemon) startHolder() (*holder.Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return holder.Start(d.paths.Holder, []string{self, "hold", d.paths.Holder}, d.paths.HolderLog)
}

// keepHolder sees to it that there is a holder, so that an end of the daemon does
// not take the carrier along: someone, or the kernel short of memory, may end it.
func (d *daemon) keepHolder(ctx context.Context) {
	for ctx.Err() == nil {
		ended, stop, err := holder.Watch(d.paths.Holder)
		if err == nil {
			select {
			case <-ctx.Done():
			case <-ended:
			}
			stop()
		}
		if ctx.Err() != nil {
			return
		}
		if err = d.renewHolder(); err == nil {
			d.log.Warn().Msg("the holder had ended: another one has the devices and sockets now")
			continue
		}
		d.log.Error().Err(err).Msg("there is no holder: should the daemon end, the tunnels lose their carrier")
		select {
		case <-ctx.Done():
		case <-time.After(holderRetry):
		}
	}
}

// renewHolder starts another holder and gives it everything.
func (d *daemon) renewHolder() error {
	c, err := d.startHolder()
	if err != nil {
		return err
	}
	d.holder.Replace(c)
	for _, t := range d.tunnels {
		err = errors.Join(err, t.queues.hold(d))
	}
	return errors.Join(err, d.sockets.hold())
}
