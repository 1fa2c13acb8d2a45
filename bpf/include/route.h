/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's FIB: the next hop inside the tunnel, and the way of the outer
 * packet. */
#pragma once

/* refused says that a route forbids the destination. */
static __always_inline int refused(long lookup)
{
	return lookup == BPF_FIB_LKUP_RET_BLACKHOLE || lookup == BPF_FIB_LKUP_RET_UNREACHABLE ||
	       lookup == BPF_FIB_LKUP_RET_PROHIBIT;
}

/* found says that fib holds a route: without a neighbour entry it does, and
 * with one that is too narrow. */
static __always_inline int found(long lookup)
{
	return lookup == BPF_FIB_LKUP_RET_SUCCESS || lookup == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       lookup == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* ask_overlay fills in what is asked of the FIB for an inner packet. */
static __always_inline void ask_overlay(struct bpf_fib_lookup *fib, const struct tunnel *t,
					const struct inner *in)
{
	fib->l4_protocol = in->l4;
	fib->ifindex = t->ifindex;
	fib->tot_len = 0;
	if (in->protocol == GRE_PROTO_IPV6) {
		fib->family = AF_INET6;
		fib->flowinfo = bpf_htonl((__u32)(in->tos & ~ECN_MASK) << 20);
		__builtin_memcpy(fib->ipv6_src, &in->source, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, &in->destination, sizeof(fib->ipv6_dst));
		return;
	}
	fib->family = AF_INET;
	fib->tos = in->tos & ~ECN_MASK;
	fib->ipv4_src = unmapped(&in->source);
	fib->ipv4_dst = unmapped(&in->destination);
}

/* overlay_nexthop asks once more what the kernel has just decided: a TC program
 * does not see the next hop of the packet. First without the device, so that
 * equal-cost routes spread; where that leads elsewhere (a packet bound to the
 * device), by the device. Gives DROP_NO_ROUTE where a route forbids it. Where
 * there is none, or the tunnel device does not forward, or the address is a
 * link-local one, which never is, the destination itself is the next hop. */
static __always_inline enum drop_reason overlay_nexthop(struct __sk_buff *skb,
							const struct tunnel *t,
							const struct inner *in,
							struct ip_addr *nexthop)
{
	struct bpf_fib_lookup fib = {};
	long lookup;

	ask_overlay(&fib, t, in);
	lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (!found(lookup) || fib.ifindex != t->ifindex) {
		ask_overlay(&fib, t, in);
		lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT);
		if (refused(lookup))
			return DROP_NO_ROUTE;
	}
	if (!found(lookup))
		*nexthop = in->destination;
	else if (fib.family == AF_INET)
		*nexthop = mapped(fib.ipv4_dst);
	else
		__builtin_memcpy(nexthop, fib.ipv6_dst, sizeof(*nexthop));
	return DROP_NONE;
}

/* The way of an outer packet. */
struct way {
	__u32 ifindex;
	int six;                        /* the outer packet is one of IPv6 */
	int elsewhere;                  /* another device is nearer */
	__u32 found;                    /* 0: let the kernel look the gateway up */
	struct bpf_redir_neigh gateway; /* whose neighbour is known */
};

/* ask_underlay fills in what is asked of the FIB for an outer packet. */
static __always_inline void ask_underlay(struct bpf_fib_lookup *fib, const struct tunnel *t,
					 const struct ip_addr *nbma, int six, __u32 octets)
{
	fib->l4_protocol = IPPROTO_GRE;
	fib->tot_len = octets > 0xffff ? 0 : octets;
	fib->ifindex = t->underlay_ifindex;
	if (six) {
		fib->family = AF_INET6;
		fib->flowinfo = 0;
		__builtin_memcpy(fib->ipv6_src, &t->local6, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, nbma, sizeof(fib->ipv6_dst));
		return;
	}
	fib->family = AF_INET;
	fib->tos = 0;
	fib->ipv4_src = unmapped(&t->local);
	fib->ipv4_dst = unmapped(nbma);
}

/* underlay_way routes towards nbma by the underlay device of the tunnel alone,
 * so that a default route through the tunnel does not catch it. octets is the
 * length of the outer packet, or of the largest that it will be cut into. */
static __always_inline enum drop_reason underlay_way(struct __sk_buff *skb, const struct tunnel *t,
						     const struct ip_addr *nbma, __u32 octets,
						     struct way *way)
{
	struct bpf_fib_lookup fib = {};
	int six = way->six;
	long lookup;

	way->ifindex = t->underlay_ifindex;
	if (t->underlay_ifindex == t->ifindex)
		return DROP_RECURSION;
	/* Kernels before 6.10 do not look at a mark here. The path's MTU comes by ICMP. */
	if (t->mark)
		return DROP_NONE;
	ask_underlay(&fib, t, nbma, six, octets);
	lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT);
	/* Of IPv6 the device is a wish. A socket that is bound to it knows what routes it has. */
	if (six && found(lookup) && fib.ifindex != t->underlay_ifindex) {
		way->elsewhere = 1;
		return fib.ifindex == t->ifindex ? DROP_RECURSION : DROP_NO_ROUTE;
	}
	if (lookup == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_TOO_BIG;
	if (lookup == BPF_FIB_LKUP_RET_SUCCESS) {
		way->gateway.nh_family = fib.family;
		if (six) {
			__builtin_memcpy(way->gateway.ipv6_nh, fib.ipv6_dst,
					 sizeof(way->gateway.ipv6_nh));
			way->found = 1;
		} else if (fib.family == AF_INET && fib.ipv4_dst) {
			/* A gateway of IPv6 is for the kernel to find again. */
			way->gateway.ipv4_nh = fib.ipv4_dst;
			way->found = 1;
		}
		return DROP_NONE;
	}
	/* A packet that waits for its neighbour is sent on by its route: it must have
	 * that of the underlay, which only the kernel's own lookup gives it. That
	 * lookup does not mind a device that does not forward, either. */
	if (lookup == BPF_FIB_LKUP_RET_NO_NEIGH || lookup == BPF_FIB_LKUP_RET_FWD_DISABLED ||
	    lookup == BPF_FIB_LKUP_RET_UNSUPP_LWT)
		return DROP_NONE;
	if (refused(lookup))
		return DROP_NO_ROUTE;
	/* Not by this device: does the only other way lead into the tunnel? */
	ask_underlay(&fib, t, nbma, six, 0);
	lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return found(lookup) && fib.ifindex == t->ifindex ? DROP_RECURSION : DROP_NO_ROUTE;
}
