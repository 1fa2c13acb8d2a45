// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"dmvpn/cmd/internal/ike"
	"dmvpn/loader/holder"
	"dmvpn/loader/underlay"
)

// rawESP opens the daemon's sockets of ESP without UDP. While the daemon is away the holder's
// keeps what comes, and the kernel from telling peers that nobody here knows ESP.
type rawESP struct{ daemon *daemon }

// espName is the name of the socket of raw ESP in the holder.
func (k socketKey) espName() string {
	return fmt.Sprintf("esp/%s/%s/%d/%d", k.local, k.device, k.index, k.mark)
}

func espKey(at ike.Endpoint) socketKey {
	return socketKey{local: at.Address, device: at.Device, index: at.Index, mark: at.Mark}
}

// OpenESP implements ike.RawSockets.
func (r rawESP) OpenESP(at ike.Endpoint) (*underlay.ESPConn, error) {
	s, key := r.daemon.sockets, espKey(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := underlay.Config{Local: key.local, Device: key.device, Mark: key.mark}
	if f, err := s.holder.Get(key.espName()); err == nil {
		c.Adopt = f
	} else if !errors.Is(err, holder.ErrAbsent) {
		return nil, err
	}
	conn, err := underlay.OpenESP(c)
	if err != nil {
		return nil, err
	}
	if err := s.holder.Put(key.espName(), conn.File()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s.esp[key] = conn
	return conn, nil
}

// CloseESP implements ike.RawSockets: it is closed in the holder too.
func (r rawESP) CloseESP(at ike.Endpoint, c *underlay.ESPConn) error {
	s, key := r.daemon.sockets, espKey(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.esp, key)
	return errors.Join(c.Close(), s.holder.Drop(key.espName()))
}
