// SPDX-License-Identifier: Apache-2.0

package wire

// Vendor is the Vendor-Private extension (RFC 2332, section 5.3.5): a vendor id
// of 24 bits and data that it alone understands. A packet may have several.
type Vendor struct {
	ID   [3]byte
	Data []byte
}

// Vendor reads the extension; Data aliases its value. The error is a
// *DecodeError.
func (e *Extension) Vendor() (Vendor, error) {
	var v Vendor
	if len(e.Value) < len(v.ID) {
		err := fault(ErrExtension, 0, "%v of %d octets", e.Type, len(e.Value))
		err.Code = ErrorInvalidExtension
		return v, err
	}
	copy(v.ID[:], e.Value)
	v.Data = clip(e.Value[len(v.ID):])
	return v, nil
}

// NewVendor makes a Vendor-Private extension, never compulsory.
func NewVendor(v Vendor) Extension {
	value := append(make([]byte, 0, len(v.ID)+len(v.Data)), v.ID[:]...)
	return Extension{Type: ExtensionVendorPrivate, Value: append(value, v.Data...)}
}
