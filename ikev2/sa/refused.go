// SPDX-License-Identifier: Apache-2.0

package sa

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dmvpn/ikev2/crypto"
	"dmvpn/ikev2/proposal"
	"dmvpn/ikev2/wire"
)

// refusedError is an error notification: one that we answer with, or that a peer
// answered with.
type refusedError struct {
	notify *wire.Notify
	why    string
}

func (e *refusedError) Error() string {
	if e.why == "" {
		return e.notify.Type.String()
	}
	return e.notify.Type.String() + ": " + e.why
}

func refused(t wire.NotifyType, format string, args ...any) error {
	return &refusedError{notify: &wire.Notify{Type: t}, why: fmt.Sprintf(format, args...)}
}

// notifyOf is the notification that answers an error.
func notifyOf(err error) *wire.Notify {
	var r *refusedError
	switch {
	case errors.As(err, &r):
		return r.notify
	case errors.Is(err, crypto.ErrPublicValue), errors.Is(err, wire.ErrSyntax):
		return &wire.Notify{Type: wire.InvalidSyntax}
	case errors.Is(err, errInstall):
		return &wire.Notify{Type: wire.NoAdditionalSAs}
	}
	return &wire.Notify{Type: wire.NoProposalChosen}
}

// peerRefused is the first error notification of a response, nil without one.
func peerRefused(response []wire.Payload) *refusedError {
	for _, p := range response {
		if n, ok := p.(*wire.Notify); ok && n.Type.IsError() {
			return &refusedError{notify: n, why: "from the peer"}
		}
	}
	return nil
}

func childNotFound(protocol wire.ProtocolID, spi []byte) error {
	return &refusedError{notify: &wire.Notify{Type: wire.ChildSANotFound, Protocol: protocol, SPI: spi}}
}

// selected wraps what proposal says about an offer; a format error stays one.
func selected(err error) error {
	if errors.Is(err, proposal.ErrNoProposalChosen) {
		return refused(wire.NoProposalChosen, "%v", err)
	}
	return err
}

func spiOf(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
