/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ESP at the daemon's sockets: whose SPI nobody has ends here, before the daemon sees
 * it. The sockets are behind the stack's conntrack and its choice of a socket: what
 * comes to them is nobody else's, but for ESP without UDP, of which each raw socket
 * and the kernel's own IPsec get a copy. */
#pragma once

#define TAKE 0xffffffff /* the whole packet */
#define REFUSE 0

/* What is looked at of a packet. skb->data is at its UDP header, or at the IP header of
 * one without UDP; the parsers have no way into what a socket gets. */
struct stray {
	struct iphdr ip;
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
	__be32 spi;

	if (skb->gso_size ||
	    bpf_skb_load_bytes_relative(skb, 0, &s->ip, sizeof(s->ip), BPF_HDR_START_NET))
		return -1;
	header = (s->ip.version_ihl & 0x0f) * 4;
	s->way = ESP_RAW;
	s->octets = bpf_ntohs(s->ip.length) - header;
	if (s->ip.protocol == IPPROTO_UDP) {
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

/* tell_stray lets IKE answer (RFC 7296 1.5). One peer among many behind a NAT is known by
 * its port. IP options are left out. */
static __noinline int tell_stray(struct __sk_buff *skb, const struct stray *s, __u32 ifindex)
{
	const __u32 room = EVENT_SNAP - sizeof(struct iphdr);
	FLOW_ALIGNED struct flow_key flow = {
		.tunnel_ifindex = ifindex,
		.kind = EVENT_UNKNOWN_SPI,
	};
	struct event *e;
	__u32 more; /* octets beyond the first */

	if (!s)
		return 0;
	flow.source = mapped(s->ip.source);
	__builtin_memcpy(&flow.destination, &s->port, sizeof(s->port));
	if (!ready(&flow, UNKNOWN_INTERVAL_NS, SPI_FLOWS))
		return 0;
	more = skb->len - s->start - 1;
	if (more >= room)
		more = room - 1;
	e = reserve(&flow, 0, &flow.source);
	if (!e)
		return 0;
	__builtin_memcpy(e->packet, &s->ip, sizeof(s->ip));
	e->packet[0] = 0x45;
	/* The compiler must not drop this bound: the verifier wants to see it. That of 6.1
	 * learns nothing from a comparison with 0. */
	asm volatile("" : "+r"(more));
	if (more >= room ||
	    bpf_skb_load_bytes(skb, s->start, e->packet + sizeof(s->ip), more + 1) < 0) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	e->length = sizeof(s->ip) + more + 1;
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
	struct ip_addr to;

	if (find_spi(skb, &s) || bpf_map_lookup_elem(&dmvpn_spi, &s.spi))
		return TAKE;
	to = mapped(s.ip.destination);
	local = bpf_map_lookup_elem(&dmvpn_esp, &to);
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
