// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/ike"
	"dmvpn/loader/esp"
	"dmvpn/loader/kernel"
	"dmvpn/loader/pump"
	"dmvpn/nhrpd"
	"dmvpn/nhrpd/engine"
)

// Implementation constants.
const (
	maxDefaultMTU = 1400
	minMTU6       = 1280 // RFC 8200, section 5
	outerHeaders  = 24   // octets of outer IPv4 and GRE
	outerIPv6     = 20   // that IPv6 has more
	keyOctets     = 4
	// espOctets are those of UDP and of ESP with an AEAD, the most of its padding included.
	espOctets    = 8 + 8 + 8 + 2 + 3 + 16
	withdrawTime = 2 * time.Second
	// saPatience is how long what waited for the daemon waits for the peers' SAs, too.
	saPatience = 10 * time.Second
)

// tunnel is one mGRE cloud that runs.
type tunnel struct {
	daemon  *daemon
	config  config.Tunnel
	log     zerolog.Logger
	device  *kernel.Device
	table   kernel.Table // of its routes
	queues  queues
	mtu     int
	watcher *kernel.Watcher
	plain   *dataPlane
	secure  *secure // nil: packets travel in clear

	families   []*family // one or two
	authorizer *authorizer
	beneath    *beneath // of makeFamilies
	halted     sync.WaitGroup
	done       <-chan struct{} // of launch: the daemon ends

	listening [2]ike.Endpoint // where IKE is for us, by IPv4 and IPv6; invalid: nowhere yet; of connect

	mu        sync.Mutex
	underlay  kernel.Underlay
	attached  int        // index of the underlay device that dmvpn_decap is attached to for us; 0: none
	pump      *pump.Pump // nil until there is an underlay address
	running   bool
	connected kernel.Underlay   // with the addresses that stand in the tables
	sockets   []*socket         // one of each family that there is
	problems  map[string]string // by what they are about
}

func spec(t config.Tunnel) kernel.UnderlaySpec {
	return kernel.UnderlaySpec{Device: t.Underlay.Device, Address: t.Underlay.Address, Address6: t.Underlay.Address6, Only: kernel.Family(t.Underlay.Only), Mark: t.Underlay.Mark, VRF: t.Underlay.VRF}
}

// bringUp makes one tunnel, or takes it over from the daemon before.
func (d *daemon) bringUp(c config.Tunnel, u *undo) error {
	under, err := d.host.Underlay(spec(c))
	if err != nil && !errors.Is(err, kernel.ErrNoAddress) {
		return fmt.Errorf("underlay: %w", err)
	}
	t := &tunnel{daemon: d, config: c, log: d.log.With().Str("tunnel", c.Name).Logger(), mtu: mtu(c, under), problems: map[string]string{}}
	if err != nil {
		t.problem("address", fmt.Sprintf("%v: nothing is sent until it has one", err))
	}
	if t.mtu+overhead(c, under) > under.MTU {
		t.problem("mtu", fmt.Sprintf("mtu %d and %d octets around it are above the %d of %s: packets that large are lost", t.mtu, overhead(c, under), under.MTU, under.Device))
	}
	if c.Address(netip.IPv6Unspecified()).IsValid() && t.mtu < minMTU6 {
		return fmt.Errorf("the MTU of %s leaves %d octets inside, and IPv6 needs %d: leave IPv6 out of address, or set mtu = %d to lose packets that large", under.Device, t.mtu, minMTU6, minMTU6)
	}
	if err := t.enter(); err != nil {
		return err
	}
	if err := t.makeDevice(u); err != nil {
		return err
	}
	if t.authorizer, err = newAuthorizer(c.Authorize); err != nil {
		return err
	}
	t.plain = &dataPlane{tables: d.plane.Tables, tunnel: t.device.Index, device: t.device, pump: t.currentPump}
	var plane plane = t.plain
	var secured func(engine.Endpoint) bool
	if c.Protected {
		t.secure = newSecure(t, t.plain)
		plane, secured = t.secure, t.secure.secured
	}
	t.makeFamilies(plane, secured)
	if err := t.connect(under); err != nil {
		return err
	}
	if err := t.listen(under); err != nil {
		return err
	}
	t.honest()
	if err := d.plane.AttachTunnel(t.device.Index, c.VRF != ""); err != nil {
		return err
	}
	if t.watcher, err = d.host.Watch(spec(c), under); err != nil {
		return err
	}
	u.push(t.watcher.Close)
	t.checkForwarding()
	t.checkVRF()
	d.tunnels = append(d.tunnels, t)
	return nil
}

// makeDevice makes the tunnel device on the queues that the holder kept.
func (t *tunnel) makeDevice(u *undo) (err error) {
	d, c := t.daemon, t.config
	s := kernel.TunnelSpec{Name: c.Name, Addresses: deviceAddresses(c.Addresses), MTU: t.mtu, VRF: c.VRF, Table: c.Table}
	// Without a queue in the holder one is opened.
	s.Queues = d.heldQueues(c.Name)
	t.device, err = d.host.EnsureTunnel(s)
	if err != nil && len(s.Queues) > 0 {
		// They may be of a device that someone deleted.
		d.quietly("holder", d.dropQueues(c.Name, 0))
		s.Queues = nil
		t.device, err = d.host.EnsureTunnel(s)
	}
	switch {
	case errors.Is(err, kernel.ErrAddressInUse):
		return fmt.Errorf("%w; give the tunnel an address of its own", err)
	case errors.Is(err, kernel.ErrQueueTaken):
		return fmt.Errorf("%w, or give the tunnel another name, [tunnel.NAME]", err)
	case errors.Is(err, kernel.ErrNameTaken):
		return fmt.Errorf("%w; give the tunnel another name, [tunnel.NAME], or delete the device", err)
	case err != nil:
		return err
	}
	u.push(func() {
		if !t.device.Adopted {
			d.quietly("remove the tunnel", d.plane.Tables.DeleteTunnel(t.device.Index))
			d.quietly("remove the tunnel", d.dropQueues(c.Name, 0))
			d.quietly("remove the tunnel", d.host.RemoveTunnel(c.Name))
		}
		_ = t.device.Close() // closed with its device
	})
	t.queues.device, t.queues.want = t.device, d.config.Daemon.Queues
	for _, f := range t.device.Queues {
		if slices.Contains(s.Queues, f) {
			t.queues.held++
		}
	}
	if err := t.openQueues(); err != nil {
		return err
	}
	return t.firstCarrier()
}

// checkForwarding notes that a hub which does not forward is a dead end.
func (t *tunnel) checkForwarding() {
	for _, f := range t.families {
		switch {
		case !t.config.Redirect || t.daemon.host.Forwarding(f.six()):
		case f.six():
			t.problem("forwarding6", "the kernel does not forward IPv6, so spokes cannot reach each other: sysctl net.ipv6.conf.all.forwarding=1")
		default:
			t.problem("forwarding", "the kernel does not forward IPv4, so spokes cannot reach each other: sysctl net.ipv4.ip_forward=1")
		}
	}
}

// firstCarrier is the carrier until NHRP says something of it: a device that was there keeps
// the one that it has, if it follows the servers still.
func (t *tunnel) firstCarrier() error {
	switch {
	case !t.config.IfState:
		return t.device.SetCarrier(true)
	case !t.device.Adopted:
		return t.device.SetCarrier(false)
	}
	return nil
}

// overhead is what stands around an inner packet: of IPv6, where packets may go by that.
func overhead(c config.Tunnel, u kernel.Underlay) int {
	n := outerHeaders
	six := u.Address6.IsValid() || c.Underlay.Only == int(kernel.IPv6)
	if six {
		n += outerIPv6
	}
	if c.HasKey {
		n += keyOctets
	}
	if c.Protected {
		n += espOctets
		if c.IPsec != nil && c.IPsec.Mode == "tunnel" {
			n += esp.TunnelHeader(netip.IPv4Unspecified())
			if six {
				n += outerIPv6
			}
		}
	}
	return n
}

// mtu is the tunnel's: what was configured, else what fits the underlay.
func mtu(c config.Tunnel, u kernel.Underlay) int {
	if c.MTU != 0 {
		return c.MTU
	}
	return min(maxDefaultMTU, u.MTU-overhead(c, u))
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails: crypto/rand ends the program instead
	return binary.NativeEndian.Uint64(b[:])
}

// Send implements nhrpd.Sender.
func (t *tunnel) Send(to engine.Endpoint, packet []byte) error {
	t.mu.Lock()
	p := t.pump
	t.mu.Unlock()
	if p == nil {
		return kernel.ErrNoAddress
	}
	if t.secure != nil {
		a, err := t.secure.path(to)
		if err != nil {
			return err
		}
		return p.SendSecure(a, packet)
	}
	return p.SendNHRP(to.NBMA, packet)
}

// launch starts the tunnel's goroutines.
func (t *tunnel) launch(ctx context.Context) {
	t.mu.Lock()
	local, local6 := t.underlay.Address, t.underlay.Address6
	t.running, t.done = true, ctx.Done()
	if t.pump != nil {
		t.runPump()
	}
	t.mu.Unlock()
	t.each(func(s *nhrpd.Service) {
		t.halted.Go(func() {
			if err := s.Run(ctx, local, local6); err != nil {
				t.log.Error().Err(err).Msg("state is not saved")
			}
		})
	})
	t.halted.Go(t.followUnderlay)
}

// runPump starts the pump: a worker for each queue. t.mu is held.
func (t *tunnel) runPump() {
	p := t.pump
	for _, q := range t.queues.all {
		t.halted.Go(func() {
			if err := p.RunQueue(q); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.daemon.fail(fmt.Errorf("tunnel %s: queue of the device: %w", t.config.Name, err))
			}
		})
	}
	t.halted.Go(t.settle)
}

// halt ends the tunnel's goroutines; the service's context has ended.
func (t *tunnel) halt() {
	t.watcher.Close()
	t.mu.Lock()
	t.running = false
	p := t.pump
	t.mu.Unlock()
	if p != nil {
		p.GiveUp()
	}
	if err := t.queues.stop(); err != nil {
		t.log.Warn().Err(err).Msg("queue of the device")
		_ = t.device.Close()
	}
	t.halted.Wait()
	if p != nil {
		p.Forget()
	}
}

// problem notes, and logs once, what needs the operator; "" says it is over.
func (t *tunnel) problem(about, text string) {
	t.mu.Lock()
	before := t.problems[about]
	if text == "" {
		delete(t.problems, about)
	} else {
		t.problems[about] = text
	}
	t.mu.Unlock()
	switch {
	case text == before:
	case text == "":
		t.log.Info().Str("was", before).Msg("it is over")
	default:
		t.log.Warn().Msg(text)
	}
}
