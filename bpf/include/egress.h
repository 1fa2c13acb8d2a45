/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the tunnel device to the underlay: which peer, which way, outer headers. */
#pragma once

/* parse_inner reads the packet that the kernel routed into the tunnel. */
static __always_inline enum drop_reason parse_inner(struct __sk_buff *skb, __u32 l2,
						    struct inner *in)
{
	struct cursor c;

	int six = skb->protocol == bpf_htons(ETH_P_IPV6);

	if (!six && skb->protocol != bpf_htons(ETH_P_IP))
		return DROP_INNER_PROTOCOL;
	if (pull(skb, l2 + (six ? sizeof(struct ip6hdr) : sizeof(struct iphdr))))
		return DROP_INNER_HEADER;
	c = cursor_at(skb, l2);
	if (six ? parse_inner_ip6(&c, skb->len - l2, skb->gso_size, in)
		: parse_inner_ip4(&c, skb->len - l2, skb->gso_size, in))
		return DROP_INNER_HEADER;
	return DROP_NONE;
}

/* find_peer gives the id of the peer that takes the packet: who stands behind
 * the next hop, else the hub while the resolution runs, else 0: nobody. resolved says
 * which of the two it is. */
static __always_inline __u32 find_peer(struct __sk_buff *skb, const struct tunnel *t,
				       const struct inner *in, const struct ip_addr *nexthop,
				       __u32 l2, int *resolved)
{
	struct nexthop_key key = {.nexthop = *nexthop, .tunnel_ifindex = t->ifindex};
	struct peer_id *id = bpf_map_lookup_elem(&dmvpn_nexthop, &key);
	__u32 fallback;

	*resolved = id != 0;
	if (id)
		return id->peer;
	fallback = in->protocol == GRE_PROTO_IPV6 ? t->fallback6_peer : t->fallback_peer;
	/* What came by the tunnel may have come from there, and would run in a circle. */
	if (came_by(skb, t))
		fallback = 0;
	event_flow(skb, t, EVENT_MISS, in, fallback, nexthop, l2);
	return fallback;
}

/* for_many says that a packet is multicast or broadcast, also that of the tunnel's network,
 * which the packet itself does not show. */
static __always_inline int for_many(const struct tunnel *t, const struct inner *in)
{
	return in->multicast || (t->broadcast && is_mapped(&in->destination) &&
				 unmapped(&in->destination) == t->broadcast);
}

/* inner_mtu is what the tunnel carries to this peer. */
static __always_inline __u32 inner_mtu(const struct tunnel *t, const struct peer *p)
{
	return p->mtu && (p->mtu < t->mtu || !t->mtu) ? p->mtu : t->mtu;
}

/* tcp_headers are the octets of headers around a segment that has no options. */
static __always_inline __u32 tcp_headers(const struct inner *in)
{
	return sizeof(struct tcphdr) +
	       (in->protocol == GRE_PROTO_IPV6 ? sizeof(struct ip6hdr) : sizeof(struct iphdr));
}

/* largest gives the octets of the packet, or of its largest segment if it is one
 * of GSO. */
static __always_inline __u32 largest(struct __sk_buff *skb, const struct inner *in, __u32 l2)
{
	__u32 headers = in->header_len + 8; /* UDP */
	__u8 offset;

	if (!skb->gso_size)
		return in->length;
	if (in->l4 == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(
			    skb, l2 + in->header_len + __builtin_offsetof(struct tcphdr, offset),
			    &offset, sizeof(offset)) < 0)
			return in->length;
		headers = in->header_len + (offset >> 4) * 4;
	}
	return headers + skb->gso_size;
}

/* send encapsulates and hands over to the underlay. */
static __always_inline int send(struct __sk_buff *skb, const struct tunnel *t, __u32 id,
				const struct peer *p, struct peer_stats *s, const struct inner *in,
				struct way *way, __u32 l2)
{
	__u32 packets = wire_packets(skb, in->length, in->header_len);
	__u32 protocol = way->six ? ETH_P_IPV6 : ETH_P_IP;
	__u32 label = way->six ? bpf_get_hash_recalc(skb) : 0;

	if (grow(skb, t, outer_header_len(way->six) + gre_header_len(t), way->six))
		return to_go(skb, id, TAG_GSO, DROP_ADJUST_ROOM);
	/* The kernel wants to see a link header before it writes its own. */
	if (l2 == 0 && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return drop(skb, id, DROP_ADJUST_ROOM);
	if (skb->protocol != bpf_htons(protocol) && become(skb, protocol))
		return drop(skb, id, DROP_ADJUST_ROOM);
	if (way->six ? fill6(skb, t, &p->nbma, in, ETH_HLEN, label)
		     : fill(skb, t, unmapped(&p->nbma), in, ETH_HLEN))
		return drop(skb, id, DROP_ADJUST_ROOM);
	count_tx(s, packets, in->length);
	skb->mark = t->mark;
	if (way->found)
		return bpf_redirect_neigh(way->ifindex, &way->gateway, sizeof(way->gateway), 0);
	return bpf_redirect_neigh(way->ifindex, 0, 0, 0);
}

static __always_inline int egress(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex, l2 = tunnel_l2_len, id, octets;
	struct tunnel *t = bpf_map_lookup_elem(&dmvpn_device, &device);
	struct ip_addr nexthop;
	struct inner in = {};
	struct way way = {};
	struct peer_stats *s;
	struct peer *p;
	enum drop_reason reason;
	int resolved;

	if (!t)
		return drop(skb, 0, DROP_UNKNOWN_TUNNEL);
	reason = parse_inner(skb, l2, &in);
	if (reason)
		return drop(skb, 0, reason);
	if (for_many(t, &in))
		return to_go(skb, 0, TAG_MULTICAST, DROP_MULTICAST);
	reason = overlay_nexthop(skb, t, &in, &nexthop);
	if (reason)
		return drop(skb, 0, reason);
	id = find_peer(skb, t, &in, &nexthop, l2, &resolved);
	if (!id)
		return to_go(skb, 0, TAG_MISS, DROP_NO_NEXTHOP);
	s = bpf_map_lookup_elem(&dmvpn_stats, &id);
	p = bpf_map_lookup_elem(&dmvpn_peer, &id);
	if (!p || !(p->flags & PEER_UP))
		return drop(skb, id, DROP_PEER_DOWN);
	if (resolved && t->flags & TUNNEL_REDIRECT && came_by(skb, t))
		event_flow(skb, t, EVENT_REDIRECT, &in, id, &nexthop, l2);
	octets = largest(skb, &in, l2);
	/* The kernel has compared with the MTU of the tunnel device. */
	if (p->mtu && octets > p->mtu)
		return to_go(skb, id, TAG_TOO_BIG, DROP_TOO_BIG);
	if (in.l4 == IPPROTO_TCP && t->flags & TUNNEL_MSS_CLAMP)
		clamp_mss(skb, l2 + in.header_len, inner_mtu(t, p) - tcp_headers(&in));
	if (t->flags & TUNNEL_PROTECTED)
		return to_go(skb, id, TAG_DATA, DROP_SLOW_PATH);
	way.six = !is_mapped(&p->nbma);
	octets += outer_header_len(way.six) + gre_header_len(t);
	reason = underlay_way(skb, t, &p->nbma, octets, &way);
	if (reason == DROP_TOO_BIG)
		return to_go(skb, id, TAG_TOO_BIG, DROP_TOO_BIG);
	if (way.elsewhere)
		return to_go(skb, id, TAG_GSO, reason);
	if (reason)
		return drop(skb, id, reason);
	return send(skb, t, id, p, s, &in, &way, l2);
}
