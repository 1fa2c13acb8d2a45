/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters: traffic by peer, drops by peer and reason. */
#pragma once

/* wire_packets gives the packets that a GSO packet of so many inner octets, with
 * an IP header of so many, is cut into. The kernel's own count is 0 once the headers have changed. */
static __always_inline __u32 wire_packets(const struct __sk_buff *skb, __u32 octets,
					  __u32 header_len)
{
	__u32 headers = header_len + sizeof(struct tcphdr);

	if (skb->gso_segs)
		return skb->gso_segs;
	if (!skb->gso_size || octets <= headers)
		return 1;
	return (octets - headers + skb->gso_size - 1) / skb->gso_size;
}

static __always_inline void count_rx(struct peer_stats *s, __u32 packets, __u32 octets)
{
	if (!s)
		return;
	s->rx_packets += packets;
	s->rx_bytes += octets;
	s->rx_last_ns = bpf_ktime_get_coarse_ns();
}

static __always_inline void count_tx(struct peer_stats *s, __u32 packets, __u32 octets)
{
	if (!s)
		return;
	s->tx_packets += packets;
	s->tx_bytes += octets;
	s->tx_last_ns = bpf_ktime_get_coarse_ns();
}

/* Not inlined: it stands at the end of many ways and is never hot. */
static __noinline int count_drop(struct __sk_buff *skb, __u32 peer, enum drop_reason reason)
{
	struct drop_key key = {.peer = peer, .reason = reason};
	struct drop_count fresh = {.packets = 1, .bytes = skb->len};
	struct drop_count *c = bpf_map_lookup_elem(&dmvpn_drop, &key);

	if (!c) {
		bpf_map_update_elem(&dmvpn_drop, &key, &fresh, BPF_ANY);
		return 0;
	}
	c->packets++;
	c->bytes += skb->len;
	return 0;
}

/* drop counts and gives the verdict. */
static __always_inline int drop(struct __sk_buff *skb, __u32 peer, enum drop_reason reason)
{
	count_drop(skb, peer, reason);
	return TC_ACT_SHOT;
}
