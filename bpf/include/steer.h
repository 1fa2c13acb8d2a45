/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The choice of a tunnel device's queue. All that leaves by one SA is in one queue, and so
 * in the hands of one worker: sequence numbers leave in their order. */
#pragma once

/* steer sees the packet as egress left it. A TUN has no link header. */
static __always_inline __u32 steer(struct __sk_buff *skb)
{
	struct tag tag;

	if (bpf_skb_load_bytes(skb, 0, &tag, sizeof(tag)) || tag.magic != TAG_MAGIC)
		return 0;
	return tag.peer % queue_count;
}
