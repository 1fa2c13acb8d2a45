// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/instance"
	"dmvpn/nhrpd"
)

// request is a Stop or a Teardown that waits for its answer.
type request struct {
	teardown, release bool
	answer            chan error
}

// serve runs until a signal, a request or a failure.
func serve(c *config.Config) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE)
	log := newLog(os.Stderr, c.Daemon.LogLevel)
	for _, w := range c.Warnings {
		log.Warn().Msg(w.Error())
	}
	d, err := start(c, log)
	if err != nil {
		return err
	}
	d.launch()
	notify(systemd.SdNotifyReady)
	log.Info().Str("version", version()).Str("instance", c.Daemon.Instance).Str("config", c.File).
		Int("tunnels", len(d.tunnels)).Msg("ready")
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				d.reload()
				continue
			}
			log.Info().Stringer("signal", s).Msg("stop: the data plane stays and forwards")
			return d.stop()
		case r := <-d.asked:
			if !r.teardown {
				log.Info().Msg("stop, as asked by the control socket: the data plane stays and forwards")
				r.answer <- nil
				return d.stop()
			}
			log.Info().Msg("teardown, as asked by the control socket")
			return d.teardown(r.answer, r.release)
		case err := <-d.failed:
			log.Error().Err(err).Msg("stop: the data plane stays and forwards")
			return errors.Join(err, d.stop())
		}
	}
}

// notify tells systemd, if it is there.
func notify(state string) {
	// Without systemd there is nobody to tell.
	_, _ = systemd.SdNotify(false, state)
}

// launch starts every goroutine.
func (d *daemon) launch() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.run.Go(d.readEvents)
	d.run.Go(d.followRoutes)
	d.run.Go(func() { d.watchRecursion(ctx) })
	d.run.Go(func() { d.keepHolder(ctx) })
	if d.ike != nil {
		d.keys.Go(func() { d.ike.Run(ctx) })
	}
	for _, t := range d.tunnels {
		t.launch(ctx)
	}
	d.sockets.launch()
	d.run.Go(func() {
		if err := d.server.Serve(); err != nil {
			d.fail(err)
		}
	})
}

// quiesce ends the loops, with their state saved. The data plane goes on.
func (d *daemon) quiesce() error {
	notify(systemd.SdNotifyStopping)
	d.cancel()
	for _, t := range d.tunnels {
		t.halt()
	}
	d.mirror.Close()
	d.sockets.close()
	d.keys.Wait() // it takes its SAs out of the tables
	return errors.Join(d.judge.end(), d.plane.Close())
}

// stop ends the daemon alone.
func (d *daemon) stop() error {
	err := errors.Join(d.quiesce(), d.server.Close())
	d.run.Wait()
	for _, t := range d.tunnels {
		err = errors.Join(err, t.device.Close())
	}
	d.host.Close()
	return errors.Join(err, d.holder.Close(), d.lock.Unlock())
}

// withdraw tells the peers of all tunnels at once that we go, and waits for their replies while
// their SAs stand.
func (d *daemon) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTime)
	defer cancel()
	var told sync.WaitGroup
	for _, t := range d.tunnels {
		t.each(func(s *nhrpd.Service) {
			told.Go(func() { d.quietly("tell the peers", s.Withdraw(ctx)) })
		})
	}
	told.Wait()
}

// teardown tells the peers, ends the loops, removes everything from the kernel,
// and only then answers.
func (d *daemon) teardown(answer chan<- error, release bool) error {
	d.withdraw()
	err := d.quiesce()
	for _, t := range d.tunnels {
		err = errors.Join(err, t.device.Close())
	}
	d.host.Close()
	err = errors.Join(err, d.holder.Close())
	if gone := instance.Teardown(d.paths, d.options); gone != nil {
		err = errors.Join(err, fmt.Errorf("teardown: %w", gone))
	}
	if release {
		d.unreachable.End() // the look at the routes may still run
		err = errors.Join(err, instance.Release(d.paths))
	}
	answer <- err
	err = errors.Join(err, d.server.Close())
	d.run.Wait()
	return errors.Join(err, d.lock.Remove())
}
