/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the underlay into the tunnel device: whose packet, may he, outer headers
 * off. */
#pragma once

/* What stands around the inner packet. */
struct envelope {
	struct ip_addr source;
	struct ip_addr destination;
	struct gre gre;
	__u32 length; /* of outer IP and GRE headers */
	int six;      /* outer IPv6 */
	__u32 octets; /* of the outer packet, by its header */
	__u8 tos;
};

/* for_us says that the frame is for this device: not for another station that a
 * promiscuous device hears, and not of a VLAN on it, whose tag the kernel has put
 * aside. */
static __always_inline int for_us(const struct __sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST &&
	       !(skb->vlan_present && skb->vlan_tci & VLAN_VID_MASK);
}

/* parse_envelope6 is parse_envelope of IPv6: GRE stands right behind its header. An address
 * of IPv4 in it is nobody's, and what those of IPv4 are in the maps. */
static __always_inline enum drop_reason parse_envelope6(struct __sk_buff *skb, __u32 l2,
							struct envelope *e)
{
	struct cursor c = cursor_at(skb, l2);
	struct ip6hdr *ip = take(&c, sizeof(*ip));
	__u32 flow;

	if (!ip || ip->next_header != IPPROTO_GRE)
		return DROP_NONE;
	flow = bpf_ntohl(ip->flow);
	if (flow >> 28 != 6)
		return DROP_NONE;
	__builtin_memcpy(&e->source, ip->source, sizeof(e->source));
	__builtin_memcpy(&e->destination, ip->destination, sizeof(e->destination));
	if (is_mapped(&e->source) || is_mapped(&e->destination))
		return DROP_NONE;
	e->six = 1;
	e->tos = flow >> 20;
	e->octets = total_length6(ip, skb->len - l2, skb->gso_size);
	if (parse_gre(&c, &e->gre))
		return DROP_TRUNCATED;
	e->length = sizeof(*ip) + e->gre.length;
	return DROP_NONE;
}

/* parse_envelope reads outer IPv4 and GRE. DROP_NONE with a GRE length of 0: not for
 * us to finish. The stack reassembles fragments, walks options, drops what has a
 * wrong checksum, and hands GRE to the raw socket. */
static __always_inline enum drop_reason parse_envelope(struct __sk_buff *skb, __u32 l2,
						       struct envelope *e)
{
	struct cursor c = cursor_at(skb, l2);
	struct iphdr *ip = take(&c, sizeof(*ip));

	if (!ip || ip->protocol != IPPROTO_GRE || ip->version_ihl != 0x45 ||
	    ip->fragment & bpf_htons(IP_MF | IP_OFFSET) || ip4_checksum(ip))
		return DROP_NONE;
	e->source = mapped(ip->source);
	e->destination = mapped(ip->destination);
	e->tos = ip->tos;
	e->octets = total_length(ip, skb->len - l2, skb->gso_size);
	if (parse_gre(&c, &e->gre))
		return DROP_TRUNCATED;
	e->length = sizeof(*ip) + e->gre.length;
	return DROP_NONE;
}

/* find_tunnel gives the tunnel by local address and key, 0 if none of ours. */
static __always_inline struct tunnel *find_tunnel(const struct envelope *e)
{
	struct tunnel_key key = {
		.local = e->destination,
		.key = e->gre.key,
		.has_key = !!(e->gre.flags & GRE_F_KEY),
	};

	return bpf_map_lookup_elem(&dmvpn_tunnel, &key);
}

/* sender gives the id of the peer with this NBMA address, 0 if nobody. */
static __always_inline __u32 sender(const struct tunnel *t, const struct envelope *e)
{
	struct nbma_key key = {.nbma = e->source, .tunnel_ifindex = t->ifindex};
	struct peer_id *id = bpf_map_lookup_elem(&dmvpn_nbma, &key);

	return id ? id->peer : 0;
}

/* open_envelope checks the inner packet and moves congestion marks into it. */
static __always_inline enum drop_reason open_envelope(struct __sk_buff *skb, __u32 l2,
						      const struct envelope *e, struct inner *in)
{
	int ecn, six = e->gre.protocol == GRE_PROTO_IPV6;
	__u32 length = e->length;
	struct iphdr *ip;
	struct cursor c;

	if (!six && e->gre.protocol != GRE_PROTO_IPV4)
		return DROP_INNER_PROTOCOL;
	/* The compiler must not drop this bound: the verifier loses its own on the stack. */
	asm volatile("" : "+r"(length));
	if (length > sizeof(struct ip6hdr) + GRE_MAX_LEN || e->octets < length ||
	    l2 + e->octets > skb->len)
		return DROP_TRUNCATED;
	c = cursor_at(skb, l2 + length);
	ip = c.at;
	if (six ? parse_inner_ip6(&c, e->octets - length, skb->gso_size, in)
		: parse_inner_ip4(&c, e->octets - length, skb->gso_size, in))
		return DROP_INNER_HEADER;
	ecn = ecn_exit(in->tos, e->tos);
	if (ecn < 0)
		return DROP_ECN;
	if (ecn == (in->tos & ECN_MASK))
		return DROP_NONE;
	if (six)
		return ip6_set_ecn(skb, l2 + length, ecn) ? DROP_INNER_HEADER : DROP_NONE;
	ip4_set_ecn(ip, ecn);
	return DROP_NONE;
}

/* strip takes so many octets of outer headers off. What is inside may be of the other
 * version: kernels before 6.3 learn that only by a conversion of the header, which has
 * 20 octets more then, or less. */
static __always_inline long strip(struct __sk_buff *skb, __u32 octets, int outer_six, int six)
{
	const __u32 more = sizeof(struct ip6hdr) - sizeof(struct iphdr);

	if (six != outer_six) {
		long err = bpf_skb_change_proto(skb, bpf_htons(six ? ETH_P_IPV6 : ETH_P_IP), 0);

		if (err)
			return err;
		octets = six ? octets + more : octets - more;
	}
	return bpf_skb_adjust_room(skb, -(__s32)octets, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

static __always_inline int ingress(struct __sk_buff *skb)
{
	const __u32 headers = 2 * sizeof(struct ip6hdr) + GRE_MAX_LEN;
	int six = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 l2 = underlay_l2_len, id, packets;
	struct envelope e = {};
	struct inner in = {};
	enum drop_reason reason;
	struct tunnel *t;
	struct peer_stats *s;
	struct peer *p;

	if ((!six && skb->protocol != bpf_htons(ETH_P_IP)) || !for_us(skb) ||
	    pull(skb, l2 + headers))
		return TC_ACT_UNSPEC;
	reason = six ? parse_envelope6(skb, l2, &e) : parse_envelope(skb, l2, &e);
	if (!reason && !e.length)
		return TC_ACT_UNSPEC;
	t = reason ? 0 : find_tunnel(&e);
	if (!t) {
		/* It may be meant for someone else: count it, and let it by. */
		count_drop(skb, 0, reason ? reason : DROP_UNKNOWN_TUNNEL);
		return TC_ACT_UNSPEC;
	}
	reason = gre_fault(&e.gre);
	if (reason)
		return drop(skb, 0, reason);
	/* What comes out of ESP does not come by here but from the daemon; packets
	 * of a kernel SA, with its mark, will be let by at this place. */
	if (t->flags & TUNNEL_PROTECTED)
		return drop(skb, sender(t, &e), DROP_CLEARTEXT);
	if (e.gre.protocol == GRE_PROTO_NHRP)
		return TC_ACT_UNSPEC;
	id = sender(t, &e);
	if (!id) {
		event_unknown(skb, t, &e.source, l2 + e.length);
		return drop(skb, 0, DROP_UNKNOWN_PEER);
	}
	s = bpf_map_lookup_elem(&dmvpn_stats, &id);
	p = bpf_map_lookup_elem(&dmvpn_peer, &id);
	if (!p || !(p->flags & PEER_UP))
		return drop(skb, id, DROP_PEER_DOWN);
	reason = open_envelope(skb, l2, &e, &in);
	if (reason)
		return drop(skb, id, reason);
	if (in.l4 == IPPROTO_TCP && t->flags & TUNNEL_MSS_CLAMP)
		clamp_mss(skb, l2 + e.length + in.header_len, inner_mtu(t, p) - tcp_headers(&in));
	packets = wire_packets(skb, in.length, in.header_len);
	if (strip(skb, e.length, e.six, in.protocol == GRE_PROTO_IPV6))
		return drop(skb, id, DROP_ADJUST_ROOM);
	count_rx(s, packets, in.length);
	return bpf_redirect(t->ifindex, BPF_F_INGRESS);
}
