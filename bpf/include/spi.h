/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ESP at the daemon's sockets: whose SPI nobody has ends here, before the daemon sees
 * it. The sockets are behind the stack's conntrack and its choice of a socket: what
 * comes to them is nobody else's, but for ESP without UDP, of which each raw socket
 * and the kernel's own IPsec get a copy. */
#pragma once

#define TAKE 0xffffffff /* the whole packet */
#define REFUSE 0

/* What is looked at of a packet. skb->data is at its UDP header, or at the IPv4 header or
 * the ESP header of IPv6 of one without UDP; the parsers have no way into what a socket
 * gets. */
struct stray {
	union {
		struct iphdr ip;
		struct ip6hdr ip6;
	};
	struct ip_addr from, to;
	__u32 header; /* octets of ip or ip6 */
	__u32 way;    /* enum esp_way */
	__u32 start;  /* of what follows the IP header, from skb->data */
	__u32 octets; /* from the SPI on */
	__u32 spi;
	__be16 port; /* of the sender, 0 without UDP */
};

/* find_spi gives -1 where it is no ESP, or not for us to judge. Merged datagrams may
 * have an SPI each: the daemon looks at every one. */
static __always_inline int find_spi(struct __sk_buff *skb, struct stray *s)
{
	__u32 header, front = 0;
	struct udphdr udp;
	__u8 protocol;
	__be32 spi;

	if (skb->gso_size)
		return -1;
	s->way = ESP_RAW;
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes_relative(skb, 0, &s->ip6, sizeof(s->ip6), BPF_HDR_START_NET))
			return -1;
		s->header = header = sizeof(s->ip6);
		__builtin_memcpy(&s->from, s->ip6.source, sizeof(s->from));
		__builtin_memcpy(&s->to, s->ip6.destination, sizeof(s->to));
		protocol = s->ip6.next_header; /* behind extension headers the daemon looks */
		s->octets = bpf_ntohs(s->ip6.payload_length);
	} else {
		if (bpf_skb_load_bytes_relative(skb, 0, &s->ip, sizeof(s->ip), BPF_HDR_START_NET))
			return -1;
		header = (s->ip.version_ihl & 0x0f) * 4;
		s->header = sizeof(s->ip);
		s->from = mapped(s->ip.source);
		s->to = mapped(s->ip.destination);
		protocol = s->ip.protocol;
		s->octets = bpf_ntohs(s->ip.length) - header;
	}
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_ESP)
		return -1;
	if (protocol == IPPROTO_UDP) {
		if (bpf_skb_load_bytes_relative(skb, header, &udp, sizeof(udp), BPF_HDR_START_NET))
			return -1;
		s->way = ESP_UDP;
		s->port = udp.source;
		s->octets = bpf_ntohs(udp.length);
		front = sizeof(udp);
	}
	s->start = skb->len - s->octets;
	s->octets -= front;
	/* A keepalive has one octet; IKE has the non-ESP marker, which no SPI is. */
	if (bpf_skb_load_bytes(skb, s->start + front, &spi, sizeof(spi)) ||
	    (s->way == ESP_UDP && !spi))
		return -1;
	s->spi = bpf_ntohl(spi);
	return 0;
}

/* snap puts what stands behind an IP header of so many octets into an event, behind it. */
static __always_inline int snap(struct __sk_buff *skb, const struct stray *s, struct event *e,
				const __u32 header)
{
	const __u32 room = EVENT_SNAP - header;
	__u32 more = skb->len - s->start - 1; /* octets beyond the first */

	if (more >= room)
		more = room - 1;
	e->length = header + more + 1;
	/* The compiler must not drop this bound: the verifier wants to see it. That of 6.1
	 * learns nothing from a comparison with 0. */
	asm volatile("" : "+r"(more));
	return more >= room || bpf_skb_load_bytes(skb, s->start, e->packet + header, more + 1) < 0;
}

/* tell_stray lets IKE answer (RFC 7296 1.5). One peer among many behind a NAT is known by
 * its port. IP options are left out. */
static __noinline int tell_stray(struct __sk_buff *skb, const struct stray *s, __u32 ifindex)
{
	FLOW_ALIGNED struct flow_key flow = {
		.tunnel_ifindex = ifindex,
		.kind = EVENT_UNKNOWN_SPI,
	};
	struct event *e;
	int failed;

	if (!s)
		return 0;
	flow.source = s->from;
	__builtin_memcpy(&flow.destination, &s->port, sizeof(s->port));
	if (!ready(&flow, UNKNOWN_INTERVAL_NS, SPI_FLOWS))
		return 0;
	e = reserve(&flow, 0, &flow.source);
	if (!e)
		return 0;
	if (s->header == sizeof(s->ip6)) {
		__builtin_memcpy(e->packet, &s->ip6, sizeof(s->ip6));
		failed = snap(skb, s, e, sizeof(s->ip6));
	} else {
		__builtin_memcpy(e->packet, &s->ip, sizeof(s->ip));
		e->packet[0] = 0x45;
		failed = snap(skb, s, e, sizeof(s->ip));
	}
	if (failed)
		bpf_ringbuf_discard(e, 0);
	else
		bpf_ringbuf_submit(e, 0);
	return 0;
}

/* count_refused counts what the kernel takes for lost by a full buffer: it does so for
 * UDP alone. */
static __always_inline void count_refused(struct __sk_buff *skb)
{
	__u64 socket = bpf_get_socket_cookie(skb), one = 1;
	__u64 *n = bpf_map_lookup_elem(&dmvpn_refused, &socket);

	if (n)
		(*n)++;
	else
		bpf_map_update_elem(&dmvpn_refused, &socket, &one, BPF_ANY);
}

/* filter gives how much of a packet the socket takes. */
static __always_inline __u32 filter(struct __sk_buff *skb)
{
	struct stray s = {};
	struct esp_local *local;

	if (find_spi(skb, &s) || bpf_map_lookup_elem(&dmvpn_spi, &s.spi))
		return TAKE;
	local = bpf_map_lookup_elem(&dmvpn_esp, &s.to);
	if (!local)
		return TAKE;
	if (!(local->ways & s.way)) /* of the kernel's IPsec, which has its own copy */
		return REFUSE;
	if (s.octets < ESP_HEADER_LEN) {
		count_drop(skb, 0, DROP_TRUNCATED);
	} else {
		count_drop(skb, 0, DROP_UNKNOWN_SPI);
		tell_stray(skb, &s, local->tunnel_ifindex);
	}
	if (s.way == ESP_UDP)
		count_refused(skb);
	return REFUSE;
}
