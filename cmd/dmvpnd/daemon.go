// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/ike"
	"dmvpn/cmd/internal/instance"
	"dmvpn/loader"
	"dmvpn/loader/holder"
	"dmvpn/loader/kernel"
	"dmvpn/loader/underlay"
	"dmvpn/nhrpd"
)

// daemon is everything that runs.
type daemon struct {
	config  *config.Config
	log     zerolog.Logger
	started time.Time
	paths   instance.Paths

	unreachable *instance.Unreachable

	options loader.Options

	lock      *instance.Lock
	host      *kernel.Host
	plane     *loader.Plane
	holder    *holder.Client
	mirror    *kernel.Routes
	state     *nhrpd.StateFile
	sockets   *sockets
	tunnels   []*tunnel
	server    *control.Server
	ike       *ike.IKE   // nil: no tunnel has IKE
	installer *installer // nil: no tunnel is protected
	judge     *judge

	connecting sync.Mutex // a tunnel is being taken to an underlay

	asked  chan request  // Stop and Teardown of the control API
	failed chan error    // a part ended that should not
	look   chan struct{} // look for recursion
	run    sync.WaitGroup
	keys   sync.WaitGroup // IKE
	cancel context.CancelFunc
}

// start makes everything and takes up what a daemon before left. What it made
// is gone again when it fails.
func start(c *config.Config, log zerolog.Logger) (*daemon, error) {
	d := &daemon{
		config: c, log: log, started: time.Now(),
		paths:   instance.PathsOf(c.Daemon.RunDir, c.Daemon.Instance),
		options: loader.Options{BPFFS: c.Daemon.BPFFS, Instance: c.Daemon.Instance},
		asked:   make(chan request), failed: make(chan error, 16), look: make(chan struct{}, 1),
	}
	var u undo
	if err := d.make(&u); err != nil {
		u.run()
		return nil, err
	}
	return d, nil
}

func (d *daemon) make(u *undo) (err error) {
	err = d.begin(u)
	// What is missing altogether says more than what failed for it.
	if missing := loader.Probe(d.options); missing != nil {
		return missing
	}
	if err != nil {
		return err
	}
	if err := d.checkUnderlays(); err != nil {
		return err
	}
	if err := d.makeIKE(u); err != nil {
		return err
	}
	if err := d.open(u); err != nil {
		return err
	}
	if d.mirror, err = d.host.MirrorRoutes(overlays(d.config, d.host)...); err != nil {
		return err
	}
	u.push(d.mirror.Close)
	if d.state, err = nhrpd.OpenState(d.paths.State); err != nil {
		d.log.Warn().Err(err).Msg("saved state not taken up: peers stay for now and are expected to register again")
	}
	if err := d.plane.Tables.Sweep(d.host.DeviceExists); err != nil {
		return err
	}
	for _, t := range d.config.Tunnels {
		if err := d.bringUp(t, u); err != nil {
			return fmt.Errorf("tunnel %s: %w", t.Name, err)
		}
	}
	if d.server, err = control.Listen(d.paths.Socket, control.Handler(&source{d, d.ike})); err != nil {
		return err
	}
	// From here on nothing fails: what is not wanted any more may go.
	d.removeUnnamed()
	d.dropUnused()
	d.quietly("ESP of others", d.judge.tidy())
	return nil
}

// begin takes the lock and sees to it that nothing goes in clear, whatever fails afterwards.
func (d *daemon) begin(u *undo) (err error) {
	if d.lock, err = instance.Take(d.config.Daemon.RunDir, d.config.Daemon.Instance, d.owner()); err != nil {
		return err
	}
	u.push(func() { d.quietly("run directory", d.lock.Undo()) })
	if d.host, err = kernel.Open(); err != nil {
		return err
	}
	u.push(d.host.Close)
	d.unreachable, err = standUnreachable(d.config, d.paths, d.host)
	return err
}

func (d *daemon) owner() instance.Owner {
	return instance.Owner{PID: os.Getpid(), BPFFS: d.config.Daemon.BPFFS, Config: d.config.File}
}

// checkUnderlays looks at every underlay device before anything is made.
func (d *daemon) checkUnderlays() error {
	for _, t := range d.config.Tunnels {
		if _, err := d.host.Underlay(spec(t)); err != nil && !errors.Is(err, kernel.ErrNoAddress) {
			return fmt.Errorf("tunnel %s: underlay: %w; name a device that is there in underlay = { device = … }", t.Name, err)
		}
	}
	return nil
}

// open loads the programs and finds or starts the holder.
func (d *daemon) open(u *undo) (err error) {
	_, err = os.Stat(filepath.Join(d.options.BPFFS, "dmvpn", d.options.Instance))
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		u.push(func() { d.quietly("remove the data plane", loader.Teardown(d.options)) })
	}
	if d.plane, err = loader.Open(d.options); err != nil {
		return err
	}
	u.push(func() { d.quietly("close the data plane", d.plane.Close()) })
	if err := d.plane.Tables.ForgetSPIs(); err != nil { // their keys are gone
		return err
	}
	d.judge = &judge{tables: d.plane.Tables, at: map[*tunnel][2]netip.Addr{}}
	u.push(func() { d.quietly("ESP of others", d.judge.end()) })
	old, err := holder.Dial(d.paths.Holder)
	if err == nil {
		d.holder = old
		u.push(func() { d.quietly("holder", d.holder.Close()) })
	} else {
		if d.holder, err = d.startHolder(); err != nil {
			return err
		}
		u.push(func() { d.quietly("end the holder", d.holder.Stop()) })
	}
	d.sockets = &sockets{holder: d.holder, tables: d.plane.Tables, failed: d.fail, open: map[socketKey]*socket{}, esp: map[socketKey]*underlay.ESPConn{}}
	u.push(d.sockets.close)
	return nil
}

// removeUnnamed removes tunnels that a daemon before had and the configuration
// does not name any more.
func (d *daemon) removeUnnamed() {
	named := map[string]bool{}
	index := map[int]bool{}
	for _, t := range d.tunnels {
		index[t.device.Index] = true
		for _, f := range t.families {
			named[stateName(t.config.Name, f.own)] = true
		}
	}
	d.state.Keep(func(tunnel string) bool { return named[tunnel] })
	tunnels, err := d.plane.Tables.Tunnels()
	d.quietly("read the tunnels of the run before", err)
	for _, old := range tunnels {
		if index[old.IfIndex] {
			continue
		}
		name := d.host.DeviceName(old.IfIndex)
		d.quietly("remove "+name, d.plane.Tables.DeleteTunnel(old.IfIndex))
		d.quietly("remove "+name, d.dropQueues(name, 0))
		d.quietly("remove "+name, d.host.RemoveTunnel(name))
		d.quietly("detach from the underlay", d.plane.ReleaseUnderlay(old.UnderlayIfIndex))
		d.log.Info().Str("tunnel", name).Msg("removed: the configuration does not name it any more")
	}
}

// dropUnused makes the holder forget what no tunnel uses any more.
func (d *daemon) dropUnused() {
	used := map[string]bool{}
	for _, t := range d.tunnels {
		for _, name := range t.queues.names() {
			used[name] = true
		}
	}
	for _, name := range d.sockets.names() {
		used[name] = true
	}
	held, err := d.holder.List()
	d.quietly("holder", err)
	for _, name := range held {
		if !used[name] {
			d.quietly("holder", d.holder.Drop(name))
		}
	}
}

// quietly logs an error that changes nothing of what is being done.
func (d *daemon) quietly(what string, err error) {
	if err != nil {
		d.log.Warn().Err(err).Msg(what)
	}
}

// fail ends the daemon with an error.
func (d *daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}
