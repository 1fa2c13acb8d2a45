// SPDX-License-Identifier: Apache-2.0

package wire

// Reassembly puts the plaintexts of one message's fragments together (RFC 7383,
// section 2.6). It must be handed only what was verified: a fragment is kept
// after its own check value was good, never before. The zero value is ready; it
// belongs to one goroutine, and one message id: Reset stands between two.
type Reassembly struct {
	first  PayloadType
	pieces [][]byte // by number − 1; nil: missing
	have   int
	size   int
}

// Add keeps a copy of the verified fragment's plaintext, its padding off.
// Complete is true when no fragment is missing; then Message gives the whole.
//
// A copy of what is there is ignored. A larger total means that the sender
// began anew with smaller fragments: what was kept is dropped; a smaller one is
// late and is ignored. An error means that the peer itself, for it was verified,
// sent too much.
func (r *Reassembly) Add(f *Fragment, plaintext []byte) (complete bool, err error) {
	total := int(f.Total)
	if f.Number == 0 || f.Number > f.Total || total > MaxFragments {
		return false, syntax("SKF", "fragment %d of %d", f.Number, f.Total)
	}
	if total < len(r.pieces) {
		return false, nil
	}
	if total > len(r.pieces) {
		r.Reset()
		r.pieces = make([][]byte, total)
	}
	at := &r.pieces[f.Number-1]
	if *at != nil {
		return r.have == total, nil
	}
	if r.size+len(plaintext) > MaxMessage {
		r.Reset()
		return false, syntax("SKF", "more than %d octets together", MaxMessage)
	}
	*at = append(make([]byte, 0, len(plaintext)), plaintext...)
	if f.Number == 1 {
		r.first = f.Inner
	}
	r.have++
	r.size += len(plaintext)
	return r.have == total, nil
}

// Message gives the type of the first payload and the whole plaintext, for
// ParseInner, once Add said that it is complete.
func (r *Reassembly) Message() (first PayloadType, plaintext []byte) {
	plaintext = make([]byte, 0, r.size)
	for _, p := range r.pieces {
		plaintext = append(plaintext, p...)
	}
	return r.first, plaintext
}

// Pending says how many of how many fragments are there; both 0 for none.
func (r *Reassembly) Pending() (have, total int) { return r.have, len(r.pieces) }

// Reset forgets everything.
func (r *Reassembly) Reset() {
	for _, p := range r.pieces {
		clear(p)
	}
	*r = Reassembly{}
}
