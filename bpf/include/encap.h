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

struct outer {
	struct iphdr ip;
	__be16 gre_flags;
	__be16 gre_protocol;
	__be32 gre_key;
};

/* from_tunnel says whether the packet came in by a tunnel device of ours. */
static __always_inline int from_tunnel(const struct __sk_buff *skb, const struct tunnel *t)
{
	__u32 device = skb->ingress_ifindex;

	return device == t->ifindex || bpf_map_lookup_elem(&dmvpn_device, &device);
}

/* grow makes room for outer IP and GRE between link header and inner packet, -1
 * without harm to the packet if it cannot. A packet that was encapsulated
 * already, and came out of a tunnel of ours, still bears the kernel's marks of
 * that; they fit the new headers, whatever the length of the old ones. For other
 * packets the marks belong to headers that are still there. */
static __always_inline int grow(struct __sk_buff *skb, const struct tunnel *t, __u32 octets)
{
	const __u64 fixed = BPF_F_ADJ_ROOM_FIXED_GSO;
	const __u64 encap = fixed | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	long err = bpf_skb_adjust_room(skb, octets, BPF_ADJ_ROOM_MAC, encap);

	if (err != -EALREADY)
		return err ? -1 : 0;
	if (skb->gso_size && !from_tunnel(skb, t))
		return -1;
	return bpf_skb_adjust_room(skb, octets, BPF_ADJ_ROOM_MAC, fixed) ? -1 : 0;
}

/* become_ip4 makes a packet one of IPv4 to the kernel, whose link header is there: one that
 * bore the marks of an encapsulation kept the protocol of what is inside. No helper sets
 * it, but where a VLAN tag is taken off the kernel reads it from the link header. */
static __noinline int become_ip4(struct __sk_buff *skb)
{
	const __be16 vlan = bpf_htons(ETH_P_8021Q), ip4 = bpf_htons(ETH_P_IP);

	/* The first tag stays beside the packet until there is a second. */
	if (bpf_skb_store_bytes(skb, ETH_HLEN - sizeof(ip4), &ip4, sizeof(ip4), 0) ||
	    bpf_skb_vlan_push(skb, vlan, 1) || bpf_skb_vlan_push(skb, vlan, 1) ||
	    bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb))
		return -1;
	return 0;
}

/* fill writes outer IP and GRE over the room at offset l2. The outer id repeats
 * the inner one, so that whoever clears DF on the way can still reassemble. */
static __always_inline int fill(struct __sk_buff *skb, const struct tunnel *t, __be32 nbma,
				const struct inner *in, __u32 l2)
{
	__u32 gre = gre_header_len(t);
	__u32 octets = skb->len - l2;
	struct outer h = {
		.ip.version_ihl = 0x45,
		.ip.tos = in->tos, /* DSCP, and ECN by RFC 6040 4.1, normal mode */
		.ip.length = bpf_htons(octets > 0xffff ? 0 : octets),
		.ip.id = in->id,
		.ip.fragment = bpf_htons(IP_DF),
		.ip.ttl = OUTER_TTL,
		.ip.protocol = IPPROTO_GRE,
		.ip.source = unmapped(&t->local),
		.ip.destination = nbma,
		.gre_flags = t->flags & TUNNEL_KEY ? bpf_htons(GRE_F_KEY) : 0,
		.gre_protocol = bpf_htons(in->protocol),
		.gre_key = bpf_htonl(t->key),
	};
	struct cursor c = cursor_at(skb, l2);
	struct outer *to = take(&c, sizeof(h.ip) + 4);
	__be32 *key;

	if (!to)
		return -1;
	h.ip.checksum = ip4_checksum(&h.ip);
	__builtin_memcpy(to, &h, sizeof(h.ip) + 4);
	if (gre == 4)
		return 0;
	key = take(&c, sizeof(*key));
	if (!key)
		return -1;
	*key = h.gre_key;
	return 0;
}
