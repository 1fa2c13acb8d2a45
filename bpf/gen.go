// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the data plane: the C programs, their compiled form and the
// Go types of what stands in their maps. LoadDmvpn gives the collection spec.
//
// dmvpn_encap belongs at the egress of a tunnel device, dmvpn_decap at the
// ingress of an underlay device, both as TC programs; dmvpn_filter at the sockets of ESP, as
// a socket filter. Before loading, the
// variables tunnel_l2_len and underlay_l2_len may be set to the octets of link
// header in front of the IP header there; they are 0 (a TUN) and 14 (Ethernet).
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel,bpfeb -go-package bpf -type tunnel_key -type tunnel -type nbma_key -type nexthop_key -type peer -type peer_stats -type drop_key -type drop_count -type flow_key -type flow_bucket -type ip_addr -type esp_local -type event_kind -type event -type tag -type tag_reason -type drop_reason Dmvpn dmvpn.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Iinclude -isystem include/third_party
