/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* By which tunnel a packet came in. A VRF puts its own device in the place of the one that a packet
 * came by, so a note goes along: tc_index, which nothing in the kernel changes on the way from
 * ingress to egress. */
#pragma once

/* noted is what stands in tc_index; two tunnels of one VRF have different ones as long as there
 * are no more than 65535 devices. */
static __always_inline __u32 noted(__u32 ifindex)
{
	return (ifindex - 1) % 65535 + 1;
}

/* arrive notes by which tunnel device the packet comes. */
static __always_inline int arrive(struct __sk_buff *skb)
{
	skb->tc_index = noted(skb->ifindex);
	return TC_ACT_UNSPEC;
}

/* came_by says whether the packet that leaves by the tunnel device came in by it. */
static __always_inline int came_by(const struct __sk_buff *skb, const struct tunnel *t)
{
	if (t->flags & TUNNEL_VRF)
		return skb->ingress_ifindex && skb->tc_index == noted(t->ifindex);
	return skb->ingress_ifindex == t->ifindex;
}
