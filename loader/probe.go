// SPDX-License-Identifier: Apache-2.0

package loader

import "errors"

// Probe looks for everything that the data plane needs and says in one sentence
// what is missing first: a capability, the kernel's version, BPF, TUN, a bpffs
// mounted and writable. It changes nothing.
func Probe(o Options) error { return errors.New("loader: not built") }
