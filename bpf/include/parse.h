/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Parsers. Each advances a cursor over the linear part of the packet and gives
 * -1 where the header is not all there. */
#pragma once

struct cursor {
	void *at;
	void *end;
};

/* The packet's bounds are read as the verifier knows them: the compiler would
 * copy a 32-bit field by a 32-bit move, and lose the pointer in it. */
static __always_inline void *packet_data(struct __sk_buff *skb)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(p)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data)));
	return p;
}

static __always_inline void *packet_end(struct __sk_buff *skb)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(p)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data_end)));
	return p;
}

static __always_inline struct cursor cursor_at(struct __sk_buff *skb, __u32 offset)
{
	struct cursor c = {.at = packet_data(skb) + offset, .end = packet_end(skb)};

	return c;
}

/* take hands out the next size octets. */
static __always_inline void *take(struct cursor *c, __u32 size)
{
	void *at = c->at;

	if (at + size > c->end)
		return 0;
	c->at = at + size;
	return at;
}

/* pull makes the first octets of the packet linear, as far as it has them. */
static __always_inline int pull(struct __sk_buff *skb, __u32 octets)
{
	if (octets > skb->len)
		octets = skb->len;
	if (packet_data(skb) + octets <= packet_end(skb))
		return 0;
	return bpf_skb_pull_data(skb, octets);
}

static __always_inline struct ip_addr mapped(__be32 v4)
{
	struct ip_addr a = {};

	a.octet[10] = 0xff;
	a.octet[11] = 0xff;
	__builtin_memcpy(&a.octet[12], &v4, sizeof(v4));
	return a;
}

static __always_inline __be32 unmapped(const struct ip_addr *a)
{
	__be32 v4;

	__builtin_memcpy(&v4, &a->octet[12], sizeof(v4));
	return v4;
}

/* is_mapped says that an address is one of IPv4. */
static __always_inline int is_mapped(const struct ip_addr *a)
{
	const __u32 *word = (const __u32 *)a->octet;

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

static __always_inline __sum16 ip4_checksum(const struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 ip_header_len(const struct iphdr *ip)
{
	return (ip->version_ihl & 0x0f) * 4;
}

/* What an inner packet says about itself, whatever its version. */
struct inner {
	struct ip_addr source;
	struct ip_addr destination;
	__u32 length;     /* octets, header included */
	__u32 header_len; /* of the IP header */
	__u16 protocol;   /* of GRE: GRE_PROTO_IPV4 or GRE_PROTO_IPV6 */
	__be16 id;        /* 0 where the version has none */
	__u8 tos;
	__u8 l4; /* 0: a later fragment; of IPv6 what follows the header itself */
	__u8 may_fragment;
	__u8 multicast; /* or limited broadcast */
};

/* total_length gives what an IPv4 header says of the packet's octets. A GSO
 * packet of more than 64 KiB says 0: all that there are. */
static __always_inline __u32 total_length(const struct iphdr *ip, __u32 octets, __u32 gso_size)
{
	return ip->length || !gso_size ? bpf_ntohs(ip->length) : octets;
}

/* total_length6 is total_length of IPv6. */
static __always_inline __u32 total_length6(const struct ip6hdr *ip, __u32 octets, __u32 gso_size)
{
	return ip->payload_length || !gso_size ? sizeof(*ip) + bpf_ntohs(ip->payload_length)
					       : octets;
}

/* parse_inner_ip4 reads an IPv4 header, options and all, and checks what the
 * header says against the octets that there are. */
static __always_inline int parse_inner_ip4(struct cursor *c, __u32 octets, __u32 gso_size,
					   struct inner *in)
{
	struct iphdr *ip = take(c, sizeof(*ip));

	if (!ip)
		return -1;
	in->header_len = ip_header_len(ip);
	in->length = total_length(ip, octets, gso_size);
	if (ip->version_ihl >> 4 != 4 || in->header_len < sizeof(*ip))
		return -1;
	if (in->length < in->header_len || in->length > octets)
		return -1;
	in->protocol = GRE_PROTO_IPV4;
	in->source = mapped(ip->source);
	in->destination = mapped(ip->destination);
	in->id = ip->id;
	in->tos = ip->tos;
	in->l4 = ip->fragment & bpf_htons(IP_OFFSET) ? 0 : ip->protocol;
	in->may_fragment = !(ip->fragment & bpf_htons(IP_DF));
	in->multicast = in->destination.octet[12] >= 224;
	return 0;
}

/* parse_inner_ip6 reads an IPv6 header. A GSO packet of more than 64 KiB says a payload of
 * 0 octets: all that there are. */
static __always_inline int parse_inner_ip6(struct cursor *c, __u32 octets, __u32 gso_size,
					   struct inner *in)
{
	struct ip6hdr *ip = take(c, sizeof(*ip));
	__u32 flow;

	if (!ip)
		return -1;
	flow = bpf_ntohl(ip->flow);
	in->header_len = sizeof(*ip);
	in->length = total_length6(ip, octets, gso_size);
	if (flow >> 28 != 6 || in->length > octets)
		return -1;
	in->protocol = GRE_PROTO_IPV6;
	__builtin_memcpy(&in->source, ip->source, sizeof(in->source));
	__builtin_memcpy(&in->destination, ip->destination, sizeof(in->destination));
	in->id = 0;
	in->tos = flow >> 20;
	in->l4 = ip->next_header;
	in->may_fragment = 0;
	in->multicast = in->destination.octet[0] == 0xff;
	return 0;
}

/* A GRE header, its optional fields stepped over. */
struct gre {
	__u16 flags;
	__u16 protocol;
	__u32 key; /* 0 without GRE_F_KEY */
	__u32 length;
};

/* parse_gre reads a header by RFC 2784 and RFC 2890. Where the routing bit or
 * the version forbid it to know the layout it still gives flags and protocol,
 * and the key from its usual place. */
static __always_inline int parse_gre(struct cursor *c, struct gre *gre)
{
	__be16 *base = take(c, 4);
	__be32 *key;

	if (!base)
		return -1;
	gre->flags = bpf_ntohs(base[0]);
	gre->protocol = bpf_ntohs(base[1]);
	gre->key = 0;
	gre->length = 4;
	/* Routing brings the offset field that checksum shares with it. */
	if (gre->flags & (GRE_F_CHECKSUM | GRE_F_ROUTING)) {
		if (!take(c, 4))
			return -1;
		gre->length += 4;
	}
	if (gre->flags & GRE_F_KEY) {
		key = take(c, 4);
		if (!key)
			return -1;
		gre->key = bpf_ntohl(*key);
		gre->length += 4;
	}
	if (gre->flags & GRE_F_SEQUENCE) {
		if (!take(c, 4))
			return -1;
		gre->length += 4;
	}
	return 0;
}

/* gre_fault gives the reason for which RFC 2784 discards the header. */
static __always_inline enum drop_reason gre_fault(const struct gre *gre)
{
	if (gre->flags & GRE_F_VERSION)
		return DROP_GRE_VERSION;
	if (gre->flags & GRE_F_ROUTING)
		return DROP_GRE_ROUTING;
	if (gre->flags & GRE_F_RESERVED)
		return DROP_GRE_RESERVED;
	return DROP_NONE;
}
