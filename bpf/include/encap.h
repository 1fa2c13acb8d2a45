/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers in front of a packet: the tag for Go, or outer IP and GRE. */
#pragma once

static __noinline long prepend(struct __sk_buff *skb, const struct tag *tag)
{
	if (!tag)
		return -1;
	return bpf_skb_change_head(skb, sizeof(*tag), 0)
		       ?: bpf_skb_store_bytes(skb, 0, tag, sizeof(*tag), 0);
}

/* to_go puts the tag in front and lets the packet into the queue of the tunnel
 * device, where the daemon reads it. reason is what it counts if it, too, has
 * no way. */
static __noinline int to_go(struct __sk_buff *skb, __u32 peer, enum tag_reason why,
			    enum drop_reason reason)
{
	struct tag tag = {
		.magic = TAG_MAGIC,
		.reason = why,
		.drop = reason,
		.peer = peer,
	};

	return prepend(skb, &tag) ? drop(skb, peer, DROP_ADJUST_ROOM) : TC_ACT_OK;
}

static __always_inline __u32 gre_header_len(const struct tunnel *t)
{
	return t->flags & TUNNEL_KEY ? 8 : 4;
}

/* outer_header_len gives the octets of the outer IP header to a peer. */
static __always_inline __u32 outer_header_len(int six)
{
	return six ? sizeof(struct ip6hdr) : sizeof(struct iphdr);
}

/* from_tunnel says whether the packet came in by a tunnel device of ours. */
static __always_inline int from_tunnel(const struct __sk_buff *skb, const struct tunnel *t)
{
	__u32 device = skb->ingress_ifindex;

	return came_by(skb, t) || bpf_map_lookup_elem(&dmvpn_device, &device);
}

/* grow makes room for outer IP and GRE between link header and inner packet, -1
 * without harm to the packet if it cannot. A packet that was encapsulated
 * already, and came out of a tunnel of ours, still bears the kernel's marks of
 * that; they fit the new headers, whatever the length of the old ones. For other
 * packets the marks belong to headers that are still there. */
static __always_inline int grow(struct __sk_buff *skb, const struct tunnel *t, __u32 octets,
				int six)
{
	const __u64 fixed = BPF_F_ADJ_ROOM_FIXED_GSO;
	const __u64 version = six ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	const __u64 encap = fixed | version | BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	long err = bpf_skb_adjust_room(skb, octets, BPF_ADJ_ROOM_MAC, encap);

	if (err != -EALREADY)
		return err ? -1 : 0;
	if (skb->gso_size && !from_tunnel(skb, t))
		return -1;
	return bpf_skb_adjust_room(skb, octets, BPF_ADJ_ROOM_MAC, fixed) ? -1 : 0;
}

/* become makes a packet one of a protocol to the kernel, whose link header is there: one that
 * bore the marks of an encapsulation kept the protocol of what is inside. No helper sets
 * it, but where a VLAN tag is taken off the kernel reads it from the link header. */
static __noinline int become(struct __sk_buff *skb, __u32 protocol)
{
	const __be16 vlan = bpf_htons(ETH_P_8021Q);
	__be16 now = bpf_htons(protocol);

	/* The first tag stays beside the packet until there is a second. */
	if (bpf_skb_store_bytes(skb, ETH_HLEN - sizeof(now), &now, sizeof(now), 0) ||
	    bpf_skb_vlan_push(skb, vlan, 1) || bpf_skb_vlan_push(skb, vlan, 1) ||
	    bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb))
		return -1;
	return 0;
}

/* put_gre writes GRE behind the outer IP header. */
static __always_inline int put_gre(struct cursor *c, const struct tunnel *t, const struct inner *in)
{
	__be16 *base = take(c, 4);
	__be32 *key;

	if (!base)
		return -1;
	base[0] = t->flags & TUNNEL_KEY ? bpf_htons(GRE_F_KEY) : 0;
	base[1] = bpf_htons(in->protocol);
	if (!(t->flags & TUNNEL_KEY))
		return 0;
	key = take(c, sizeof(*key));
	if (!key)
		return -1;
	*key = bpf_htonl(t->key);
	return 0;
}

/* fill6 writes outer IPv6 and GRE over the room at offset l2. The flow label tells the
 * inner flows apart to whoever spreads by it (RFC 6438). */
static __always_inline int fill6(struct __sk_buff *skb, const struct tunnel *t,
				 const struct ip_addr *nbma, const struct inner *in, __u32 l2,
				 __u32 label)
{
	__u32 octets = skb->len - l2 - sizeof(struct ip6hdr);
	struct cursor c = cursor_at(skb, l2);
	struct ip6hdr *ip = take(&c, sizeof(*ip));

	if (!ip)
		return -1;
	/* DSCP, and ECN by RFC 6040 4.1, normal mode */
	ip->flow = bpf_htonl(6U << 28 | (__u32)in->tos << 20 | (label & FLOW_LABEL_MASK));
	ip->payload_length = bpf_htons(octets > 0xffff ? 0 : octets);
	ip->next_header = IPPROTO_GRE;
	ip->hop_limit = OUTER_TTL;
	__builtin_memcpy(ip->source, &t->local6, sizeof(ip->source));
	__builtin_memcpy(ip->destination, nbma, sizeof(ip->destination));
	return put_gre(&c, t, in);
}

/* fill writes outer IPv4 and GRE over the room at offset l2. The outer id repeats
 * the inner one, so that whoever clears DF on the way can still reassemble. */
static __always_inline int fill(struct __sk_buff *skb, const struct tunnel *t, __be32 nbma,
				const struct inner *in, __u32 l2)
{
	__u32 octets = skb->len - l2;
	struct iphdr h = {
		.version_ihl = 0x45,
		.tos = in->tos, /* DSCP, and ECN by RFC 6040 4.1, normal mode */
		.length = bpf_htons(octets > 0xffff ? 0 : octets),
		.id = in->id,
		.fragment = bpf_htons(IP_DF),
		.ttl = OUTER_TTL,
		.protocol = IPPROTO_GRE,
		.source = unmapped(&t->local),
		.destination = nbma,
	};
	struct cursor c = cursor_at(skb, l2);
	struct iphdr *ip = take(&c, sizeof(h));

	if (!ip)
		return -1;
	h.checksum = ip4_checksum(&h);
	__builtin_memcpy(ip, &h, sizeof(h));
	return put_gre(&c, t, in);
}
