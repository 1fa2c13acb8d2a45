// SPDX-License-Identifier: Apache-2.0

// Package ike runs IKE in a program: the service with its machine, the UDP sockets
// of ports 500 and 4500, and the answers to what the control API asks. It is handed
// what the Child SAs are installed in.
package ike

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/control"
	"dmvpn/ikev2"
	"dmvpn/ikev2/sa"
	"dmvpn/loader/underlay"
)

// Config is what an IKE is made of. Handler may be nil, as may what a comment says it
// of; the rest is needed.
type Config struct {
	Connections []*sa.Connection
	Installer   sa.Installer
	CrashSecret string // file, see ikev2.CrashSecret
	Handler     ikev2.Handler
	// KernelESP leaves ESP in UDP to the kernel (RFC 3948): for its XFRM. Otherwise
	// datagrams of ESP are dropped.
	KernelESP bool
	// Workers is how many sockets share port 4500, each with a reader; 0: one.
	Workers int
	// ESP makes what takes the ESP packets of one socket, whose reader alone calls it; that is
	// a worker's, counted from 0. nil: they are dropped.
	ESP func(worker int) Receiver
	// Raw opens sockets of ESP without UDP; nil: there are none.
	Raw RawSockets
	// Filter gives what judges ESP at the sockets of an endpoint; nil: nothing does.
	Filter func() (underlay.Filter, error)
	// TooBig takes what ICMP says of packets that were too big, ESP or IKE; nil: nobody.
	TooBig func(underlay.Hint)
	// Used gives what the Child SA with an inbound SPI has carried and dropped; nil: nobody
	// counts.
	Used func(inbound uint32) Used
	// Count adds what else there is to the counters; nil: nothing.
	Count func(map[string]uint64)
	// Failed is told when a socket ends that was not closed.
	Failed func(error)
	Log    zerolog.Logger
}

// Used is what a Child SA has carried, both ways, and dropped of what came.
type Used struct {
	Packets, Octets uint64
	Dropped         control.ESPDrops
}

// Receiver takes ESP packets in batches; Open may change the octets. What came without
// UDP has endpoints with port 0.
type Receiver interface {
	Begin(now time.Time)
	Open(b []byte, tos uint8, local, remote netip.AddrPort)
	End()
}

// RawSockets opens and closes the sockets of ESP without UDP. Those that are open when
// IKE ends are closed by their own method: a holder may keep them.
type RawSockets interface {
	OpenESP(at Endpoint) (*underlay.ESPConn, error)
	CloseESP(at Endpoint, c *underlay.ESPConn) error
}

// IKE is all of a program's. Its methods are safe for concurrent use; those of an
// *IKE that is nil answer that there is none.
type IKE struct {
	service *ikev2.Service
	sockets *sockets
	used    func(uint32) Used
	count   func(map[string]uint64)
}

// New makes it. A crash secret that is not kept is only a warning: peers find out
// later that we have restarted.
func New(c Config) *IKE {
	secret, err := ikev2.CrashSecret(c.CrashSecret)
	if err != nil {
		c.Log.Warn().Err(err).Msg("another crash secret is used: peers that do not know it yet find a restart out by themselves")
	}
	if c.Handler == nil {
		c.Handler = nobody{}
	}
	k := &IKE{sockets: newSockets(c), used: c.Used, count: c.Count}
	k.service = ikev2.New(ikev2.Config{
		Machine: sa.Config{Connections: c.Connections, Installer: c.Installer, CrashSecret: secret},
		Sender:  k.sockets, Handler: c.Handler, Resolver: net.DefaultResolver, Log: c.Log,
	})
	k.sockets.service = k.service
	return k
}

// Run runs it until ctx ends: then the peers are told, and the sockets closed.
func (k *IKE) Run(ctx context.Context) {
	defer k.sockets.close()
	k.service.Run(ctx)
}

// Close closes the sockets of an IKE that was not run.
func (k *IKE) Close() { k.sockets.close() }

// Service is what inputs are given to.
func (k *IKE) Service() *ikev2.Service { return k.service }

// nobody wants to know what becomes of peers.
type nobody struct{}

func (nobody) Up(sa.Peer)                    {}
func (nobody) Down(sa.Peer, string)          {}
func (nobody) Moved(sa.Peer, netip.AddrPort) {}
func (nobody) Failed(sa.Failed)              {}
