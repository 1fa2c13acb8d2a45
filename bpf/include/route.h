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
	__be32 gateway; /* its neighbour is known; 0: let the kernel look it up */
};

/* underlay_way routes towards nbma by the underlay device of the tunnel alone,
 * so that a default route through the tunnel does not catch it. octets is the
 * length of the outer packet, or of the largest that it will be cut into. */
static __always_inline enum drop_reason underlay_way(struct __sk_buff *skb, const struct tunnel *t,
						     __be32 nbma, __u32 octets, struct way *way)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = IPPROTO_GRE,
		.tot_len = octets > 0xffff ? 0 : octets,
		.ifindex = t->underlay_ifindex,
		.ipv4_src = unmapped(&t->local),
		.ipv4_dst = nbma,
	};
	long lookup;

	way->ifindex = t->underlay_ifindex;
	way->gateway = 0;
	if (t->underlay_ifindex == t->ifindex)
		return DROP_RECURSION;
	/* Kernels before 6.10 do not look at a mark here. The path's MTU comes by ICMP. */
	if (t->mark)
		return DROP_NONE;
	lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT);
	if (lookup == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_TOO_BIG;
	if (lookup == BPF_FIB_LKUP_RET_SUCCESS) {
		/* A gateway of IPv6 is for the kernel to find again. */
		if (fib.family == AF_INET)
			way->gateway = fib.ipv4_dst;
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
	fib.family = AF_INET;
	fib.tot_len = 0;
	fib.ifindex = t->underlay_ifindex;
	fib.tos = 0;
	fib.ipv4_src = unmapped(&t->local);
	fib.ipv4_dst = nbma;
	lookup = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return found(lookup) && fib.ifindex == t->ifindex ? DROP_RECURSION : DROP_NO_ROUTE;
}
