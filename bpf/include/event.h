/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events for the daemon, each through a token bucket. */
#pragma once

/* Flows are compared and hashed by words: keys are aligned to them. */
#define FLOW_WORDS (sizeof(struct flow_key) / sizeof(__u64))
#define FLOW_ALIGNED __attribute__((aligned(sizeof(__u64))))

/* flow_bucket_of gives the place of a flow among the first count buckets, a
 * power of two. */
static __always_inline __u32 flow_bucket_of(const struct flow_key *flow, __u32 count)
{
	const __u64 *word = (const void *)flow;
	__u64 hash = 0;

#pragma unroll
	for (int i = 0; i < (int)FLOW_WORDS; i++) {
		hash ^= word[i];
		hash *= 0x9e3779b97f4a7c15ULL; /* 2^64 by the golden ratio */
		hash ^= hash >> 32;
	}
	return hash & (count - 1);
}

static __always_inline int same_flow(const struct flow_key *a, const struct flow_key *b)
{
	const __u64 *left = (const void *)a, *right = (const void *)b;
	__u64 difference = 0;

#pragma unroll
	for (int i = 0; i < (int)FLOW_WORDS; i++)
		difference |= left[i] ^ right[i];
	return !difference;
}

/* ready takes the token of a flow if the last one is at least interval old. A
 * bucket that another flow has is taken over after a quarter of that: so two that
 * share one get their turns, and many that pass by once, as in a scan, raise no
 * more than the buckets let by. Nothing is locked: two CPUs may both get a token
 * at the same instant, which the daemon does not mind, or leave a bucket to a
 * flow that is neither's. */
static __always_inline int ready(const struct flow_key *flow, __u64 interval, __u32 count)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 index = flow_bucket_of(flow, count);
	struct flow_bucket *b = bpf_map_lookup_elem(&dmvpn_redirect, &index);

	if (!b)
		return 0;
	if (!same_flow(flow, &b->flow))
		interval /= 4;
	if (now - b->last_ns < interval)
		return 0;
	b->flow = *flow;
	b->last_ns = now;
	return 1;
}

/* reserve begins an event. A full ring loses it: the next token brings another. */
static __always_inline struct event *reserve(const struct flow_key *flow, __u32 peer,
					     const struct ip_addr *nexthop)
{
	struct event *e = bpf_ringbuf_reserve(&dmvpn_events, sizeof(*e), 0);

	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->kind = flow->kind;
	e->tunnel_ifindex = flow->tunnel_ifindex;
	e->peer = peer;
	e->nexthop = *nexthop;
	return e;
}

/* raise sends an event with the first octets of the packet from offset on. */
static __noinline int raise(struct __sk_buff *skb, const struct flow_key *flow, __u32 peer,
			    const struct ip_addr *nexthop, __u32 offset)
{
	struct event *e;
	__u32 last;

	if (!flow || !nexthop || skb->len <= offset)
		return 0;
	last = skb->len - offset - 1;
	if (last > EVENT_SNAP - 1)
		last = EVENT_SNAP - 1;
	e = reserve(flow, peer, nexthop);
	if (!e)
		return 0;
	/* The compiler must not drop this bound, nor compare instead: of an octet at least the
	 * verifier of 6.1 is sure only by arithmetic. */
	asm volatile("" : "+r"(last));
	last &= EVENT_SNAP - 1;
	if (bpf_skb_load_bytes(skb, offset, e->packet, last + 1) < 0) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	e->length = last + 1;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* event_flow raises REDIRECT or MISS for an inner packet. */
static __always_inline void event_flow(struct __sk_buff *skb, const struct tunnel *t,
				       enum event_kind kind, const struct inner *in, __u32 peer,
				       const struct ip_addr *nexthop, __u32 offset)
{
	__u64 interval = kind == EVENT_REDIRECT ? REDIRECT_INTERVAL_NS : MISS_INTERVAL_NS;
	FLOW_ALIGNED struct flow_key flow = {
		.source = in->source,
		.destination = in->destination,
		.tunnel_ifindex = t->ifindex,
		.kind = kind,
	};

	if (ready(&flow, interval, MAX_FLOWS))
		raise(skb, &flow, peer, nexthop, offset);
}

/* event_unknown raises UNKNOWN_NBMA. Whoever forges many addresses gets no more
 * than the few buckets that all of them share let by. */
static __always_inline void event_unknown(struct __sk_buff *skb, const struct tunnel *t,
					  const struct ip_addr *nbma, __u32 offset)
{
	FLOW_ALIGNED struct flow_key flow = {
		.source = *nbma,
		.tunnel_ifindex = t->ifindex,
		.kind = EVENT_UNKNOWN_NBMA,
	};

	if (ready(&flow, UNKNOWN_INTERVAL_NS, UNKNOWN_FLOWS))
		raise(skb, &flow, 0, nbma, offset);
}
