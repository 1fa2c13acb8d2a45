// SPDX-License-Identifier: Apache-2.0

// Package member is somebody who has the members' key and does with it what he likes: IKE
// and ESP by our own machines, in a node of a lab without a daemon, and in the SA whatever
// octets of NHRP he is given.
package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/config"
	"dmvpn/cmd/internal/ike"
	"dmvpn/cmd/internal/lab"
	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/esp"
)

// Config says who he is and whom he speaks to.
type Config struct {
	Node     *lab.Node
	Local    netip.Addr // underlay
	Hub      netip.Addr
	Others   []netip.Addr // members that he speaks to as well
	Identity string
	KeyFile  string // of the group's shared key
	Key      uint32 // of GRE
	Taken    func(nhrp []byte)
}

// A Member is connected. Its methods are safe for concurrent use.
type Member struct {
	config Config
	plane  *plane
	ike    *ike.IKE
	told   *told
	stop   context.CancelFunc
	ran    sync.WaitGroup

	sealing sync.Mutex
	scratch esp.Scratch
}

const connection = "member"

// Connect makes the SAs with the hub and the others, or says why it cannot before ctx ends.
func Connect(ctx context.Context, c Config) (*Member, error) {
	text := fmt.Sprintf("[ipsec]\nidentity = %q\npsk-file = %q\nesp = \"aes128gcm16\"\n", c.Identity, c.KeyFile)
	settings, err := config.ParseIPsec("member", []byte(text))
	if err != nil {
		return nil, err
	}
	policy, err := ike.Connection(connection, &settings, time.Now())
	if err != nil {
		return nil, err
	}
	told := &told{changed: make(chan struct{}, 1), failed: make(chan error, 8), up: map[netip.Addr]uint64{}}
	m := &Member{config: c, told: told, plane: newPlane()}
	m.ike = ike.New(ike.Config{
		Connections: []*sa.Connection{policy}, Installer: m.plane, CrashSecret: filepath.Join(c.Node.Dir, "member-secret"), Handler: told,
		ESP:    func(int) ike.Receiver { return &receiver{plane: m.plane, taken: c.Taken} },
		Failed: func(err error) { told.fail(err) }, Log: zerolog.Nop(),
	})
	if err := c.Node.Do(func() error { return m.ike.Listen(ike.Endpoint{Address: c.Local}) }); err != nil {
		m.ike.Close()
		return nil, err
	}
	var running context.Context
	running, m.stop = context.WithCancel(context.Background())
	m.ran.Go(func() { m.ike.Run(running) })
	for _, peer := range m.peers() {
		m.ike.Service().Connect(ikev2.Want{Connection: connection, Host: peer.String(), Port: ike.Port, Local: netip.AddrPortFrom(c.Local, ike.Port)})
	}
	for err == nil && !told.all(m.peers()) {
		select {
		case <-told.changed:
		case err = <-told.failed:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil {
		return m, nil
	}
	m.Close()
	return nil, fmt.Errorf("member %s: %w", c.Identity, err)
}

func (m *Member) peers() []netip.Addr { return append([]netip.Addr{m.config.Hub}, m.config.Others...) }

// Close tells them, and ends.
func (m *Member) Close() {
	m.stop()
	m.ran.Wait()
}

// Send sends a packet of NHRP to the hub and the others, in GRE, in ESP.
func (m *Member) Send(nhrp []byte) error {
	for _, peer := range m.peers() {
		if err := m.send(peer, nhrp); err != nil {
			return fmt.Errorf("member: to %v: %w", peer, err)
		}
	}
	return nil
}

func (m *Member) send(peer netip.Addr, nhrp []byte) error {
	const gre, protocolGRE, most = 8, 47, 64 // behind the packet: padding and check value
	a := m.plane.Current(m.told.id(peer))
	if a == nil {
		return errors.New("it has ended the SA")
	}
	m.sealing.Lock()
	defer m.sealing.Unlock()
	at := a.Out.Front()
	b := make([]byte, at+gre, at+gre+len(nhrp)+most)
	binary.BigEndian.PutUint16(b[at:], 0x2000) // with a key
	binary.BigEndian.PutUint16(b[at+2:], 0x2001)
	binary.BigEndian.PutUint32(b[at+4:], m.config.Key)
	sealed, err := a.Out.Seal(&m.scratch, append(b, nhrp...), at, protocolGRE)
	if err != nil {
		return err
	}
	return m.ike.SendSegments(a.Path(), 0, len(sealed), sealed)
}

// told is what IKE says of the peers.
type told struct {
	changed chan struct{}
	failed  chan error

	mu sync.Mutex
	up map[netip.Addr]uint64 // the newest IKE SA with each
}

func (t *told) id(peer netip.Addr) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.up[peer]
}

func (t *told) all(peers []netip.Addr) bool {
	return !slices.ContainsFunc(peers, func(a netip.Addr) bool { return t.id(a) == 0 })
}

func (t *told) fail(err error) {
	select {
	case t.failed <- err:
	default: // it is known
	}
}

// Up implements ikev2.Handler, as the others do.
func (t *told) Up(p sa.Peer) {
	t.mu.Lock()
	t.up[p.Remote.Addr()] = p.ID
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default: // it is known
	}
}
func (t *told) Down(sa.Peer, string)          {}
func (t *told) Moved(sa.Peer, netip.AddrPort) {}
func (t *told) Failed(f sa.Failed)            { t.fail(errors.New(f.Reason)) }
