// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

func TestKernelAccepts(t *testing.T) {
	spec, err := LoadDmvpn()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	c, err := ebpf.NewCollection(spec)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		t.Fatalf("%+v", ve)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n, p := range c.Programs {
		info, _ := p.Info()
		k, _ := info.JitedSize()
		t.Log(n, p, k)
	}
}
