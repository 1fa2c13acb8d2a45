/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ESP from the underlay: whose SPI nobody has ends here, before a socket and the
 * daemon see it. All else is theirs. */
#pragma once

/* sighting is what is told of ESP that was refused. */
struct sighting {
	struct ip_addr source;
	__u32 tunnel_ifindex;
	__be16 port; /* of the sender, 0 for raw ESP */
};

/* find_spi takes the headers up to the SPI, raw or in UDP (RFC 3948), and gives
 * how it came; 0: no ESP, or not for us to judge. The stack puts fragments
 * together and walks options. Merged datagrams may have an SPI each: the daemon
 * looks at every one. */
static __always_inline __u32 find_spi(struct __sk_buff *skb, struct cursor *c,
				      const struct iphdr *ip, __be32 *spi, __u32 *octets,
				      __be16 *port)
{
	__u32 way = ESP_RAW;
	struct udphdr *udp;
	__be32 *first;

	if (ip->version_ihl != 0x45 || skb->gso_size || ip->fragment & bpf_htons(IP_MF | IP_OFFSET))
		return 0;
	*octets = bpf_ntohs(ip->length) - sizeof(*ip);
	*port = 0;
	if (ip->protocol == IPPROTO_UDP) {
		udp = take(c, sizeof(*udp));
		if (!udp || udp->destination != bpf_htons(ESP_UDP_PORT))
			return 0;
		*octets = bpf_ntohs(udp->length) - sizeof(*udp);
		*port = udp->source;
		way = ESP_UDP;
	} else if (ip->protocol != IPPROTO_ESP) {
		return 0;
	}
	/* A keepalive has one octet; IKE has the non-ESP marker, which no SPI is. */
	first = take(c, sizeof(*first));
	if (!first || (way == ESP_UDP && !*first))
		return 0;
	*spi = *first;
	return way;
}

/* stray_esp gives the reason for which an ESP packet goes no further: it is for an
 * address whose ESP the daemon takes, that way, and its SPI is nobody's. */
static __always_inline enum drop_reason stray_esp(struct __sk_buff *skb, __u32 l2,
						  struct sighting *s)
{
	struct cursor c = cursor_at(skb, l2);
	struct iphdr *ip = take(&c, sizeof(*ip));
	struct esp_local *local;
	struct ip_addr to;
	__u32 way, octets, key;
	__be32 spi;

	if (!ip)
		return DROP_NONE;
	way = find_spi(skb, &c, ip, &spi, &octets, &s->port);
	if (!way)
		return DROP_NONE;
	key = bpf_ntohl(spi);
	if (bpf_map_lookup_elem(&dmvpn_spi, &key))
		return DROP_NONE;
	to = mapped(ip->destination);
	local = bpf_map_lookup_elem(&dmvpn_esp, &to);
	if (!local || !(local->ways & way) || ip4_checksum(ip))
		return DROP_NONE;
	s->source = mapped(ip->source);
	s->tunnel_ifindex = local->tunnel_ifindex;
	return octets < ESP_HEADER_LEN ? DROP_TRUNCATED : DROP_UNKNOWN_SPI;
}

/* refuse_esp drops it and tells the daemon, whose IKE answers (RFC 7296 1.5). One
 * peer among many behind a NAT is known by its port. */
static __always_inline int refuse_esp(struct __sk_buff *skb, const struct sighting *s,
				      enum drop_reason reason, __u32 l2)
{
	FLOW_ALIGNED struct flow_key flow = {
		.source = s->source,
		.tunnel_ifindex = s->tunnel_ifindex,
		.kind = EVENT_UNKNOWN_SPI,
	};

	__builtin_memcpy(&flow.destination, &s->port, sizeof(s->port));
	if (reason == DROP_UNKNOWN_SPI && ready(&flow, UNKNOWN_INTERVAL_NS, SPI_FLOWS))
		raise(skb, &flow, 0, &s->source, l2);
	return drop(skb, 0, reason);
}
