// SPDX-License-Identifier: Apache-2.0

// Package ikev2 is the glue around the pure machine of ikev2/sa: what it reads
// from files. It reaches sockets and the data plane through interfaces.
package ikev2
