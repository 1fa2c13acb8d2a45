// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2/sa"
)

// xfrm is an sa.Installer in the kernel: two states for a Child SA, and for a peer
// the policies that send by the newest of its states and take only what came by one
// of them. Which one is sent by stands in the policy, as the SPI of its template,
// so that it changes in one step. It is safe for concurrent use.
type xfrm struct {
	spis *ike.Plain // hands SPIs out, and keeps what the API shows
	log  zerolog.Logger
	done chan struct{}

	mu       sync.Mutex
	children map[uint32]*child // by inbound SPI
	current  map[uint64]uint32 // inbound SPI of the Child SA in use, by peer
}

// child is a Child SA with its keys.
type child struct {
	sa.Child
	out     bool // its outbound state is there
	packets uint64
	heard   time.Time
}

// chooseInstaller gives one, and whether the kernel has to take ESP off the sockets.
func chooseInstaller(kind string, log zerolog.Logger) (sa.Installer, bool, error) {
	switch kind {
	case "plain":
		return ike.NewPlain(log), false, nil
	case "xfrm", "auto":
	default:
		return nil, false, fmt.Errorf("--installer %q: write xfrm, plain or auto", kind)
	}
	err := probe()
	switch {
	case err == nil:
		return &xfrm{spis: ike.NewPlain(zerolog.Nop()), log: log, done: make(chan struct{}), children: map[uint32]*child{}, current: map[uint64]uint32{}}, true, nil
	case kind == "auto":
		log.Warn().Err(err).Msg("this kernel has no ESP: IKE alone, in a table")
		return ike.NewPlain(log), false, nil
	}
	return nil, false, fmt.Errorf("--installer xfrm: %w", err)
}

// probe adds a state and takes it away again.
func probe() error {
	s := &netlink.XfrmState{
		Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TRANSPORT, Spi: 0xdeadbeef,
		Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128},
	}
	if err := netlink.XfrmStateAdd(s); err != nil {
		return fmt.Errorf("add a state of ESP: %w", err)
	}
	return netlink.XfrmStateDel(s)
}

// Reserve implements sa.Installer.
func (x *xfrm) Reserve() (uint32, error) { return x.spis.Reserve() }

// Release implements sa.Installer.
func (x *xfrm) Release(spi uint32) { x.spis.Release(spi) }

// Install implements sa.Installer.
func (x *xfrm) Install(c *sa.Child) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	own := &child{Child: *c, out: true}
	own.In.Encryption, own.In.Integrity = clone(c.In.Encryption), clone(c.In.Integrity)
	own.Out.Encryption, own.Out.Integrity = clone(c.Out.Encryption), clone(c.Out.Integrity)
	if err := netlink.XfrmStateAdd(own.state(true)); err != nil {
		return fmt.Errorf("inbound state %08x: %w", c.Inbound, err)
	}
	if err := netlink.XfrmStateAdd(own.state(false)); err != nil {
		return errors.Join(fmt.Errorf("outbound state %08x: %w", c.Outbound, err), netlink.XfrmStateDel(own.state(true)))
	}
	for _, p := range own.policies(inbound) {
		if err := netlink.XfrmPolicyUpdate(&p); err != nil {
			return errors.Join(fmt.Errorf("policy: %w", err), netlink.XfrmStateDel(own.state(true)), netlink.XfrmStateDel(own.state(false)))
		}
	}
	if err := x.spis.Install(c); err != nil {
		return err
	}
	x.children[c.Inbound] = own
	x.say(own).Msg("Child SA installed")
	return nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

func (x *xfrm) say(c *child) *zerolog.Event {
	return x.log.Info().Uint64("sa", c.IKE).Str("inbound", ike.SPI(c.Inbound)).Str("outbound", ike.SPI(c.Outbound)).
		Stringer("local", c.Local).Stringer("remote", c.Remote).Bool("udp", c.Encapsulation)
}

// quietly logs what the kernel refuses where nobody can be told.
func (x *xfrm) quietly(what string, err error) {
	if err != nil {
		x.log.Error().Err(err).Msg(what)
	}
}

// Activate implements sa.Installer.
func (x *xfrm) Activate(spi uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.children[spi]
	if c == nil {
		return
	}
	for _, p := range c.policies(outbound) {
		x.quietly("policy", netlink.XfrmPolicyUpdate(&p))
	}
	x.current[c.Peer.ID] = spi
	x.say(c).Msg("Child SA in use")
}

// Retire implements sa.Installer.
func (x *xfrm) Retire(spi uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.children[spi]; c != nil {
		x.retire(c)
	}
}

func (x *xfrm) retire(c *child) {
	if c.out {
		c.out = false
		x.quietly("outbound state", netlink.XfrmStateDel(c.state(false)))
	}
}

// Remove implements sa.Installer.
func (x *xfrm) Remove(spi uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.children[spi]
	if c == nil {
		return
	}
	x.retire(c)
	x.quietly("inbound state", netlink.XfrmStateDel(c.state(true)))
	delete(x.children, spi)
	x.spis.Remove(spi)
	x.say(c).Msg("Child SA removed")
	for _, o := range x.children {
		if o.Peer.ID == c.Peer.ID {
			return
		}
	}
	delete(x.current, c.Peer.ID)
	for _, p := range c.policies(inbound, outbound) {
		if err := netlink.XfrmPolicyDel(&p); err != nil && !errors.Is(err, os.ErrNotExist) {
			x.quietly("policy", err)
		}
	}
}

// Move implements sa.Installer. The kernel cannot change a state's addresses: it
// gets another one that counts on from where the old one was.
func (x *xfrm) Move(spi uint32, local, remote netip.AddrPort, encapsulation bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.children[spi]
	if c == nil {
		return
	}
	old := *c
	c.Local, c.Remote, c.Encapsulation = local, remote, encapsulation
	x.spis.Move(spi, local, remote, encapsulation)
	for _, in := range []bool{true, false} {
		if !in && !c.out {
			continue
		}
		was, err := netlink.XfrmStateGet(old.state(in))
		if err != nil {
			x.quietly("state that moves", err)
			continue
		}
		x.quietly("state that moves", netlink.XfrmStateDel(old.state(in)))
		now := c.state(in)
		now.Replay = was.Replay
		x.quietly("state that moves", netlink.XfrmStateAdd(now))
	}
	directions := []netlink.Dir{netlink.XFRM_DIR_IN, netlink.XFRM_DIR_FWD}
	if x.current[c.Peer.ID] == spi {
		directions = append(directions, netlink.XFRM_DIR_OUT)
	}
	// A policy is replaced in one step where it is for the same packets: without any
	// they would leave in clear.
	replaced := map[string]bool{}
	packets := func(p netlink.XfrmPolicy) string { return fmt.Sprint(p.Dir, p.Src, p.Dst, p.Proto) }
	for _, p := range c.policies(directions) {
		x.quietly("policy", netlink.XfrmPolicyUpdate(&p))
		replaced[packets(p)] = true
	}
	for _, p := range old.policies(directions) {
		if replaced[packets(p)] {
			continue
		}
		if err := netlink.XfrmPolicyDel(&p); err != nil && !errors.Is(err, os.ErrNotExist) {
			x.quietly("policy", err)
		}
	}
	x.say(c).Msg("Child SA moved")
}

// Received implements sa.Installer: the kernel counts packets and does not say when
// the last one came, so that it is when a higher count was seen first.
func (x *xfrm) Received(spi uint32) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.children[spi]
	if c == nil {
		return time.Time{}
	}
	s, err := netlink.XfrmStateGet(c.state(true))
	if err == nil && s.Statistics.Packets > c.packets {
		c.packets, c.heard = s.Statistics.Packets, time.Now()
	}
	return c.heard
}

// follow tells of states that reach a limit.
func (x *xfrm) follow(put func(sa.Input)) {
	expired, failed := make(chan netlink.XfrmMsg), make(chan error, 1)
	if err := netlink.XfrmMonitor(expired, x.done, failed, nl.XFRM_MSG_EXPIRE); err != nil {
		x.quietly("limits of states are not heard of", err)
		return
	}
	go func() {
		for m := range expired {
			if e, ok := m.(*netlink.XfrmMsgExpire); ok {
				x.expired(uint32(e.XfrmState.Spi), e.Hard, put)
			}
		}
	}()
}

func (x *xfrm) expired(spi uint32, hard bool, put func(sa.Input)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.children {
		if c.Inbound == spi || c.Outbound == spi {
			put(&sa.Expired{Inbound: c.Inbound, Hard: hard})
		}
	}
}

// close takes everything out of the kernel that is still there.
func (x *xfrm) close() {
	close(x.done)
	x.mu.Lock()
	left := make([]uint32, 0, len(x.children))
	for spi := range x.children {
		left = append(left, spi)
	}
	x.mu.Unlock()
	for _, spi := range left {
		x.Remove(spi)
	}
}
