// SPDX-License-Identifier: Apache-2.0

package underlay

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// controlHeader is the size of cmsghdr(3): a length as wide as a pointer, level
// and type.
var controlHeader = unix.CmsgLen(0)

// putControl writes the head of a control message at the start of b, and gives
// room for its n octets of data and what is behind it.
func putControl(b []byte, level, kind, n int) (data, rest []byte) {
	if controlHeader == 16 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(n)))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(n)))
	}
	binary.NativeEndian.PutUint32(b[controlHeader-8:], uint32(level))
	binary.NativeEndian.PutUint32(b[controlHeader-4:], uint32(kind))
	return b[controlHeader : controlHeader+n], b[unix.CmsgSpace(n):]
}

// nextControl takes the first control message off b; ok is false where there is
// none. It allocates nothing, as unix.ParseSocketControlMessage does.
func nextControl(b []byte) (level, kind int, data, rest []byte, ok bool) {
	if len(b) < controlHeader {
		return 0, 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if controlHeader == 16 {
		n = int(binary.NativeEndian.Uint64(b))
	}
	if n < controlHeader || n > len(b) {
		return 0, 0, nil, nil, false
	}
	level = int(binary.NativeEndian.Uint32(b[controlHeader-8:]))
	kind = int(binary.NativeEndian.Uint32(b[controlHeader-4:]))
	return level, kind, b[controlHeader:n], b[min(unix.CmsgSpace(n-controlHeader), len(b)):], true
}
