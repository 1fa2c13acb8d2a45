/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps, shared by all programs of an instance through pins. Declared with
 * __type so that bpftool prints field names. */
#pragma once

#define MAP(name_, type_, key_, value_, entries_)    \
	struct {                                     \
		__uint(type, type_);                 \
		__uint(max_entries, entries_);       \
		__type(key, key_);                   \
		__type(value, value_);               \
		__uint(pinning, LIBBPF_PIN_BY_NAME); \
	} name_ SEC(".maps")

MAP(dmvpn_tunnel, BPF_MAP_TYPE_HASH, struct tunnel_key, struct tunnel, MAX_TUNNELS);
MAP(dmvpn_device, BPF_MAP_TYPE_HASH, struct device_key, struct tunnel, MAX_TUNNELS);
MAP(dmvpn_nbma, BPF_MAP_TYPE_HASH, struct nbma_key, struct peer_id, MAX_PEERS);
MAP(dmvpn_nexthop, BPF_MAP_TYPE_HASH, struct nexthop_key, struct peer_id, MAX_NEXTHOPS);
MAP(dmvpn_peer, BPF_MAP_TYPE_ARRAY, __u32, struct peer, MAX_PEERS);
MAP(dmvpn_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct peer_stats, MAX_PEERS);
MAP(dmvpn_drop, BPF_MAP_TYPE_LRU_PERCPU_HASH, struct drop_key, struct drop_count, MAX_DROPS);
MAP(dmvpn_redirect, BPF_MAP_TYPE_ARRAY, __u32, struct flow_bucket, MAX_FLOWS);

MAP(dmvpn_esp, BPF_MAP_TYPE_HASH, struct ip_addr, struct esp_local, MAX_TUNNELS);

MAP(dmvpn_refused, BPF_MAP_TYPE_LRU_PERCPU_HASH, __u64, __u64, MAX_SOCKETS);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SPIS);
	__type(key, __u32);
	__type(value, __u32);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* memory for the SAs that there are */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} dmvpn_spi SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_RING_BYTES);
	__type(value, struct event); /* for bpf2go */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} dmvpn_events SEC(".maps");
