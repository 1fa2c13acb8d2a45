/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ECN at the exit of a tunnel, RFC 6040 4.2. At its entry, in normal mode, the
 * outer field is a copy of the inner (4.1). */
#pragma once

enum {
	ECN_NOT_ECT = 0,
	ECN_ECT_1 = 1,
	ECN_ECT_0 = 2,
	ECN_CE = 3,
	ECN_MASK = 3,
};

/* ecn_exit gives the field of the packet that leaves, -1: drop it.
 *
 *   inner \ outer  Not-ECT  ECT(0)   ECT(1)   CE
 *   Not-ECT        Not-ECT  Not-ECT  Not-ECT  drop
 *   ECT(0)         ECT(0)   ECT(0)   ECT(1)   CE
 *   ECT(1)         ECT(1)   ECT(1)   ECT(1)   CE
 *   CE             CE       CE       CE       CE
 */
static __always_inline int ecn_exit(__u8 inner, __u8 outer)
{
	inner &= ECN_MASK;
	outer &= ECN_MASK;
	if (inner == ECN_NOT_ECT)
		return outer == ECN_CE ? -1 : ECN_NOT_ECT;
	if (outer == ECN_CE)
		return ECN_CE;
	if (inner == ECN_ECT_0 && outer == ECN_ECT_1)
		return ECN_ECT_1;
	return inner;
}

/* checksum_swap corrects a header checksum for one word that changes. The sum
 * over the header stays the same, so skb->csum stays right too. */
static __always_inline __sum16 checksum_swap(__sum16 checksum, __be16 old, __be16 new)
{
	/* RFC 1624, equation 3 */
	__u32 sum = (__u16)~checksum + (__u16)~old + new;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* ip6_set_ecn writes the field of the header at offset, and what the device has summed up.
 * Pointers into the packet are void afterwards. */
static __always_inline long ip6_set_ecn(struct __sk_buff *skb, __u32 offset, __u8 ecn)
{
	__u8 octet;
	long err = bpf_skb_load_bytes(skb, offset + 1, &octet, sizeof(octet));

	octet = (octet & ~(ECN_MASK << 4)) | ecn << 4;
	return err
		       ?: bpf_skb_store_bytes(skb, offset + 1, &octet, sizeof(octet),
					      BPF_F_RECOMPUTE_CSUM);
}

/* ip4_set_ecn writes the field. */
static __always_inline void ip4_set_ecn(struct iphdr *ip, __u8 ecn)
{
	__be16 *word = (__be16 *)ip; /* version, header length, TOS */
	__be16 old = *word;

	ip->tos = (ip->tos & ~ECN_MASK) | ecn;
	ip->checksum = checksum_swap(ip->checksum, old, *word);
}
