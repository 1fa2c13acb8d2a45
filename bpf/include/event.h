/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events for the daemon, each through a token bucket. */
#pragma once

/* ready takes the token of a flow if the last one is at least interval old. Two
 * CPUs may both get one at the same instant; the daemon does not mind. */
static __always_inline int ready(const struct flow_key *key, __u64 interval)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct flow_bucket fresh = {.last_ns = now};
	struct flow_bucket *b = bpf_map_lookup_elem(&dmvpn_redirect, key);

	if (!b) {
		bpf_map_update_elem(&dmvpn_redirect, key, &fresh, BPF_ANY);
		return 1;
	}
	if (now - b->last_ns < interval)
		return 0;
	b->last_ns = now;
	return 1;
}

/* raise sends an event with the first octets of the packet from offset on. A
 * full ring loses it: the next token brings another. */
static __noinline int raise(struct __sk_buff *skb, const struct flow_key *flow, __u32 peer,
			    const struct ip_addr *nexthop, __u32 offset)
{
	struct event *e;
	__u32 octets;

	if (!flow || !nexthop || skb->len <= offset)
		return 0;
	octets = skb->len - offset;
	if (octets > EVENT_SNAP)
		octets = EVENT_SNAP;
	e = bpf_ringbuf_reserve(&dmvpn_events, sizeof(*e), 0);
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->kind = flow->kind;
	e->tunnel_ifindex = flow->tunnel_ifindex;
	e->peer = peer;
	e->nexthop = *nexthop;
	/* The compiler must not drop this bound: the verifier wants to see it. */
	asm volatile("" : "+r"(octets));
	if (octets == 0 || octets > EVENT_SNAP ||
	    bpf_skb_load_bytes(skb, offset, e->packet, octets) < 0) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	e->length = octets;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* event_flow raises REDIRECT or MISS for an inner packet. */
static __always_inline void event_flow(struct __sk_buff *skb, const struct tunnel *t,
				       enum event_kind kind, const struct inner *in, __u32 peer,
				       const struct ip_addr *nexthop, __u32 offset)
{
	__u64 interval = kind == EVENT_REDIRECT ? REDIRECT_INTERVAL_NS : MISS_INTERVAL_NS;
	struct flow_key key = {
		.source = in->source,
		.destination = in->destination,
		.tunnel_ifindex = t->ifindex,
		.kind = kind,
	};

	if (ready(&key, interval))
		raise(skb, &key, peer, nexthop, offset);
}

/* event_unknown raises UNKNOWN_NBMA. Whoever forges many addresses gets no more
 * than the spacing of the tunnel lets by. */
static __always_inline void event_unknown(struct __sk_buff *skb, const struct tunnel *t,
					  const struct ip_addr *nbma, __u32 offset)
{
	struct flow_key key = {.tunnel_ifindex = t->ifindex, .kind = EVENT_UNKNOWN_NBMA};

	if (!ready(&key, UNKNOWN_SPACING_NS))
		return;
	key.source = *nbma;
	if (ready(&key, UNKNOWN_INTERVAL_NS))
		raise(skb, &key, 0, nbma, offset);
}
