// SPDX-License-Identifier: Apache-2.0

// Package pair joins two machines of ikev2/sa by a queue of datagrams and a clock that
// only the caller moves: what benchmarks and fuzz targets need, and no more. No program
// but the benchmark imports it.
package pair
