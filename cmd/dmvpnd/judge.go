// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"sync"

	"dmvpn/loader/tables"
)

// judge makes the filter of the sockets of ESP drop what has an SPI that nobody has, at the
// addresses where protected tunnels have IKE. What comes to the socket on port 4500 is for
// nobody else: what comes back to those behind a NAT on this host never reaches it. ESP without
// UDP may be for the kernel's IPsec, but where a tunnel asks for it.
type judge struct {
	tables *tables.Tables

	mu sync.Mutex
	at map[*tunnel][2]netip.Addr // of IPv4, of IPv6
}

// move takes a tunnel from the address that it had before of a family, 0 or 1, to another; an
// invalid one is none.
func (j *judge) move(t *tunnel, family int, to netip.Addr) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := j.at[t]
	from := all[family]
	all[family] = to
	j.at[t] = all
	err := j.settle(to)
	if from != to {
		err = errors.Join(err, j.settle(from))
	}
	return err
}

// settle writes what the tunnels at an address want. j.mu is held.
func (j *judge) settle(a netip.Addr) error {
	if !a.IsValid() {
		return nil
	}
	index, raw := 0, false
	for t, at := range j.at {
		if at[0] == a || at[1] == a {
			index, raw = t.device.Index, raw || t.config.IPsec.Encapsulation == "raw"
		}
	}
	if index == 0 {
		return j.tables.IgnoreESP(a)
	}
	return j.tables.JudgeESP(a, index, raw)
}

// end leaves what comes for the next daemon to look at.
func (j *judge) end() error {
	j.mu.Lock()
	clear(j.at)
	j.mu.Unlock()
	return j.tidy()
}

// tidy ends what a daemon before judged and this one does not.
func (j *judge) tidy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	judged, err := j.tables.JudgedESP()
	for _, a := range judged {
		err = errors.Join(err, j.settle(a))
	}
	return err
}
