/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TCP MSS: a SYN that passes the tunnel says no more than the tunnel carries. */
#pragma once

#define TCP_OPTIONS_MAX 40

enum {
	TCP_OPTION_END = 0,
	TCP_OPTION_NOP = 1,
	TCP_OPTION_MSS = 2,
	TCP_OPTION_MSS_LEN = 4,
};

/* A walk over the options. */
struct options {
	struct __sk_buff *skb;
	__u32 at;  /* from the start of the packet */
	__u32 end; /* where they end */
	__u32 mss; /* where the MSS option stands; 0 none */
};

/* next_option is one step of the walk; 1 ends it. */
static long next_option(__u32 step, struct options *o)
{
	__u8 kind_len[2];

	(void)step;
	if (o->at + TCP_OPTION_MSS_LEN > o->end ||
	    bpf_skb_load_bytes(o->skb, o->at, kind_len, sizeof(kind_len)) < 0)
		return 1;
	switch (kind_len[0]) {
	case TCP_OPTION_END:
		return 1;
	case TCP_OPTION_NOP:
		o->at++;
		return 0;
	case TCP_OPTION_MSS:
		if (kind_len[1] == TCP_OPTION_MSS_LEN)
			o->mss = o->at;
		return 1;
	}
	if (kind_len[1] < 2)
		return 1;
	o->at += kind_len[1];
	return 0;
}

/* clamp_mss lowers the MSS of a SYN whose TCP header stands at offset. It may
 * move the packet's head: pointers into the packet are void afterwards. */
static __noinline int clamp_mss(struct __sk_buff *skb, __u32 offset, __u32 limit)
{
	struct tcphdr tcp;
	struct options o = {.skb = skb, .at = offset + sizeof(tcp)};
	__be16 old, new;
	__u32 at;

	if (bpf_skb_load_bytes(skb, offset, &tcp, sizeof(tcp)) < 0 || !(tcp.flags & TCP_SYN))
		return 0;
	if ((tcp.offset >> 4) * 4 <= (int)sizeof(tcp))
		return 0;
	o.end = offset + (tcp.offset >> 4) * 4;
	bpf_loop(TCP_OPTIONS_MAX, next_option, &o, 0);
	if (!o.mss)
		return 0;
	at = o.mss + 2;
	if (bpf_skb_load_bytes(skb, at, &old, sizeof(old)) < 0 || bpf_ntohs(old) <= limit)
		return 0;
	new = bpf_htons(limit);
	/* An option may begin at an odd octet; then its bytes are swapped in the sum. */
	if ((at - offset) & 1)
		bpf_l4_csum_replace(skb, offset + __builtin_offsetof(struct tcphdr, checksum),
				    __builtin_bswap16(old), __builtin_bswap16(new), sizeof(new));
	else
		bpf_l4_csum_replace(skb, offset + __builtin_offsetof(struct tcphdr, checksum), old,
				    new, sizeof(new));
	bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
	return 0;
}
