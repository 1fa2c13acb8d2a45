// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// Authentication is the Authentication extension (RFC 2332, section 5.3.4):
// 16 reserved bits, a security parameter index, and data by its kind. It prints
// without its data.
type Authentication struct {
	Reserved uint16
	SPI      uint16
	Data     []byte // secret
}

// Cisco's authentication: index 1 and the secret in clear.
const (
	CiscoSPI       uint16 = 1
	MaxCiscoSecret int    = 8 // octets
)

const authenticationHeader = 4

// Authentication reads the extension; Data aliases its value. The error is a
// *DecodeError whose code is that of a failed authentication.
func (e *Extension) Authentication() (Authentication, error) {
	if len(e.Value) < authenticationHeader {
		err := fault(ErrExtension, 0, "%v of %d octets", e.Type, len(e.Value))
		err.Code = ErrorAuthenticationFailure
		return Authentication{}, err
	}
	return Authentication{
		Reserved: binary.BigEndian.Uint16(e.Value),
		SPI:      binary.BigEndian.Uint16(e.Value[2:]),
		Data:     clip(e.Value[authenticationHeader:]),
	}, nil
}

// NewCiscoAuthentication makes Cisco's extension 7 of a secret of 1 to
// MaxCiscoSecret octets.
func NewCiscoAuthentication(secret string) (Extension, error) {
	if len(secret) == 0 || len(secret) > MaxCiscoSecret {
		return Extension{}, fmt.Errorf("nhrp: authentication of %d octets; Cisco's has 1 to %d", len(secret), MaxCiscoSecret)
	}
	value := make([]byte, 0, authenticationHeader+len(secret))
	value = binary.BigEndian.AppendUint32(value, uint32(CiscoSPI))
	return Extension{Type: ExtensionAuthentication, Compulsory: true, Value: append(value, secret...)}, nil
}

// CiscoSecret says whether the extension is Cisco's with exactly this secret.
// The time that it takes tells nothing of the data but its length.
func (a Authentication) CiscoSecret(secret string) bool {
	return a.Reserved == 0 && a.SPI == CiscoSPI && subtle.ConstantTimeCompare(a.Data, []byte(secret)) == 1
}

// String names the kind and never the data.
func (a Authentication) String() string {
	kind := "keyed"
	if a.SPI == CiscoSPI {
		kind = "cisco"
	}
	return fmt.Sprintf("%s spi %d, %d octets", kind, a.SPI, len(a.Data))
}
