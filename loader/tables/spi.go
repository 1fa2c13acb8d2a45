// SPDX-License-Identifier: Apache-2.0

package tables

import (
	"errors"
	"fmt"
	"net/netip"
)

// AddSPI lets ESP with an inbound SPI reach the daemon. It must come before the SPI is
// told to a peer. An error says that the map is full.
func (t *Tables) AddSPI(spi uint32) error {
	if err := t.spi.Put(spi, uint32(1)); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapSPI, err)
	}
	return nil
}

// DeleteSPI makes an SPI unknown. One that is not there is no error.
func (t *Tables) DeleteSPI(spi uint32) error {
	if err := absent(t.spi.Delete(spi)); err != nil {
		return fmt.Errorf("tables: delete from %s: %w", MapSPI, err)
	}
	return nil
}

// ForgetSPIs makes all unknown: their keys went with the daemon before.
func (t *Tables) ForgetSPIs() error {
	// Collected first, because a deletion disturbs the iteration.
	var all []uint32
	var spi, value uint32
	it := t.spi.Iterate()
	for it.Next(&spi, &value) {
		all = append(all, spi)
	}
	err := it.Err()
	for _, spi := range all {
		err = errors.Join(err, absent(t.spi.Delete(spi)))
	}
	if err != nil {
		return fmt.Errorf("tables: empty %s: %w", MapSPI, err)
	}
	return nil
}

// JudgeESP makes the filter of the sockets of ESP drop and count what has an SPI that AddSPI
// was not told of, and report it: of what comes to local in UDP and, with raw, by itself.
// Without raw ESP without UDP is others', and the filter leaves it to them. tunnel is the
// index of a tunnel device with that address, which the events name.
func (t *Tables) JudgeESP(local netip.Addr, tunnel int, raw bool) error {
	v := espLocal{TunnelIfIndex: uint32(tunnel), Ways: espUDP}
	if raw {
		v.Ways |= espRaw
	}
	if err := t.esp.Put(toAddress(local), v); err != nil {
		return fmt.Errorf("tables: write %s: %w", MapESP, err)
	}
	return nil
}

// IgnoreESP undoes JudgeESP.
func (t *Tables) IgnoreESP(local netip.Addr) error {
	if err := absent(t.esp.Delete(toAddress(local))); err != nil {
		return fmt.Errorf("tables: delete from %s: %w", MapESP, err)
	}
	return nil
}

// JudgedESP gives the addresses of JudgeESP.
func (t *Tables) JudgedESP() (all []netip.Addr, err error) {
	var key address
	var value espLocal
	it := t.esp.Iterate()
	for it.Next(&key, &value) {
		all = append(all, fromAddress(key))
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("tables: read %s: %w", MapESP, err)
	}
	return all, nil
}

// Refused gives how many datagrams the filter has kept from the UDP socket with a cookie.
func (t *Tables) Refused(cookie uint64) (sum uint64, err error) {
	var each []uint64
	if err := absent(t.refused.Lookup(cookie, &each)); err != nil {
		return 0, fmt.Errorf("tables: read %s: %w", MapRefused, err)
	}
	for _, n := range each {
		sum += n
	}
	return sum, nil
}
