// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Entries reads the extensions that hold client information entries, in the
// families of their packet: Responder Address (at most one entry; RFC 2332,
// section 5.3.1), Forward and Reverse Transit NHS Record (5.3.2, 5.3.3) and
// Cisco's NAT Address (the first counts). None is how a requester asks for
// one. Subaddresses alias the value. Every error is a *DecodeError whose offset
// counts from the extension's value; its code is that of a protocol error, but
// of an invalid extension for a NAT Address and for two responders.
func (p *Packet) Entries(e *Extension) ([]CIE, error) {
	f, err := p.families()
	if err != nil {
		return nil, err
	}
	entries, err := parseCIEs(e.Value, f, 0)
	if err == nil && e.Type == ExtensionResponderAddress && len(entries) > 1 {
		err = fault(ErrEntries, 0, "%d in a %v", len(entries), e.Type)
		err.Code = ErrorInvalidExtension
	}
	if err == nil {
		return entries, nil
	}
	if e.Type == ExtensionNATAddress {
		err.Code = ErrorInvalidExtension
	}
	return nil, err
}

// NewEntries makes an extension of client information entries in the families
// of p; without entries it is the empty one of a request. The compulsory bit is
// as RFC 2332 demands: set, but for Cisco's NAT Address.
func (p *Packet) NewEntries(t ExtensionType, entries ...CIE) (Extension, error) {
	e := Extension{Type: t, Compulsory: t != ExtensionNATAddress}
	err := p.AddEntries(&e, entries...)
	return e, err
}

// AddEntries appends entries to the value of e, as a transit NHS does with its
// own record. The old value is not written to. On an error e is as before.
func (p *Packet) AddEntries(e *Extension, entries ...CIE) error {
	f, fail := p.families()
	if fail != nil {
		return fail
	}
	value := e.Value[:len(e.Value):len(e.Value)]
	for i := range entries {
		var err error
		if value, err = entries[i].append(value, f); err != nil {
			return err
		}
	}
	if len(value) > maxPacket {
		return fmt.Errorf("nhrp: %v of %d octets, at most %d", e.Type, len(value), maxPacket)
	}
	e.Value = value
	return nil
}

// hasEntries says whether the value is client information entries.
func (t ExtensionType) hasEntries() bool {
	switch t {
	case ExtensionResponderAddress, ExtensionForwardTransit, ExtensionReverseTransit, ExtensionNATAddress:
		return true
	}
	return false
}
