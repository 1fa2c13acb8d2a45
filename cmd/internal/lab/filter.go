// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// assemble makes a socket's filter of a program.
func assemble(program []bpf.Instruction) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}
