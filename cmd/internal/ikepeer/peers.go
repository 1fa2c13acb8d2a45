// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dmvpn/cmd/internal/control"
	"dmvpn/cmd/internal/ike"
	"dmvpn/ikev2"
	"dmvpn/ikev2/auth"
	"dmvpn/ikev2/sa"
)

// connectTime is how long /v1/ike/connect waits.
const connectTime = 3 * time.Minute

// peers is what becomes of peers, and who waits for it.
type peers struct {
	ike      *ike.IKE
	local    netip.Addr
	identity auth.Identity
	log      zerolog.Logger

	mu      sync.Mutex
	up      map[uint64]sa.Peer
	waiting map[netip.Addr][]chan error
}

func newPeers(local netip.Addr, log zerolog.Logger) *peers {
	return &peers{local: local, log: log, up: map[uint64]sa.Peer{}, waiting: map[netip.Addr][]chan error{}}
}

// want connects to a host for good.
func (p *peers) want(host string) {
	w := ikev2.Want{Connection: connectionName, Host: host, Port: ike.Port, Local: netip.AddrPortFrom(p.local, ike.Port), Identity: p.identity}
	if a, err := netip.ParseAddrPort(host); err == nil {
		w.Host, w.Port, w.Local = a.Addr().String(), a.Port(), netip.AddrPortFrom(p.local, a.Port())
	}
	p.ike.Service().Connect(w)
}

// Up implements ikev2.Handler.
func (p *peers) Up(x sa.Peer) {
	p.log.Info().Stringer("peer", x.Identity).Stringer("local", x.Local).Stringer("remote", x.Remote).
		Bool("nat_local", x.NATLocal).Bool("nat_remote", x.NATRemote).Msg("peer up")
	p.mu.Lock()
	p.up[x.ID] = x
	p.mu.Unlock()
	p.tell(x.Remote.Addr(), nil)
}

// Down implements ikev2.Handler.
func (p *peers) Down(x sa.Peer, reason string) {
	p.log.Info().Stringer("peer", x.Identity).Str("reason", reason).Msg("peer down")
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.up, x.ID)
}

// Moved implements ikev2.Handler.
func (p *peers) Moved(x sa.Peer, old netip.AddrPort) {
	p.log.Info().Stringer("peer", x.Identity).Stringer("old", old).Stringer("remote", x.Remote).Msg("peer moved")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up[x.ID] = x
}

// Failed implements ikev2.Handler.
func (p *peers) Failed(f sa.Failed) {
	p.log.Info().Stringer("remote", f.Remote).Str("reason", f.Reason).Time("retry", f.Retry).Msg("attempt failed")
	p.tell(f.Remote.Addr(), fmt.Errorf("%s: %s", f.Remote, f.Reason))
}

// tell ends the waiting for a peer.
func (p *peers) tell(remote netip.Addr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.waiting[remote] {
		c <- err
	}
	delete(p.waiting, remote)
}

// await gives the channel that says when a peer is up or an attempt has failed.
func (p *peers) await(remote netip.Addr) <-chan error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan error, 1)
	for _, x := range p.up {
		if x.Remote.Addr() == remote {
			c <- nil
			return c
		}
	}
	p.waiting[remote] = append(p.waiting[remote], c)
	return c
}

// serveConnect is POST /v1/ike/connect?host=HOST.
func (p *peers) serveConnect(w http.ResponseWriter, r *http.Request) {
	err := p.connectOnce(w, r)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(control.Failure{Error: err.Error()})
		return
	}
	_, _ = w.Write([]byte("{}\n"))
}

func (p *peers) connectOnce(w http.ResponseWriter, r *http.Request) error {
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(connectTime + time.Second)); err != nil {
		return err
	}
	to, err := endpoint(r, p.local)
	if err != nil {
		return err
	}
	local := p.local
	if local.IsUnspecified() {
		if local, err = p.ike.Source(to.Addr()); err != nil {
			return err
		}
	}
	answer := p.await(to.Addr())
	p.ike.Service().Put(&sa.Connect{Connection: connectionName, Local: netip.AddrPortFrom(local, to.Port()), Remote: to, Identity: p.identity, Once: true})
	select {
	case err := <-answer:
		return err
	case <-r.Context().Done():
		return r.Context().Err()
	case <-time.After(connectTime):
		return fmt.Errorf("nothing heard of %s for %v", to, connectTime)
	}
}

// endpoint reads the parameter host.
func endpoint(r *http.Request, local netip.Addr) (netip.AddrPort, error) {
	host := r.URL.Query().Get("host")
	if a, err := netip.ParseAddrPort(host); err == nil {
		return a, nil
	}
	network := "ip4" // that of our own address
	if local.Is6() {
		network = "ip6"
	}
	all, err := net.DefaultResolver.LookupNetIP(r.Context(), network, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(all[0].Unmap(), ike.Port), nil
}
