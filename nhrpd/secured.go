// SPDX-License-Identifier: Apache-2.0

package nhrpd

import "dmvpn/nhrpd/engine"

// Secured says that packets to and from the endpoint are protected from now on. It does
// not wait for the loop, unless its queue is full.
func (s *Service) Secured(at engine.Endpoint) { s.put(engine.Secured{To: at}) }

// Unsecured says that they are no longer, likewise.
func (s *Service) Unsecured(at engine.Endpoint) { s.put(engine.Unsecured{To: at}) }
