/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What stands in the maps. Integers are in host order but where "be" stands;
 * every address has 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
#pragma once

struct ip_addr {
	__u8 octet[16];
} __attribute__((aligned(4)));

enum tunnel_flag {
	TUNNEL_KEY = 1 << 0,       /* GRE key present, RFC 2890 */
	TUNNEL_REDIRECT = 1 << 1,  /* raise redirect events (hub) */
	TUNNEL_PROTECTED = 1 << 2, /* data leaves by Go and ESP, GRE in clear is dropped */
	TUNNEL_MSS_CLAMP = 1 << 3,
	TUNNEL_VRF = 1 << 4, /* the device is in a VRF, which hides by what a packet came */
};

/* dmvpn_tunnel: which tunnel a received GRE packet belongs to. */
struct tunnel_key {
	struct ip_addr local;
	__u32 key;     /* host order; 0 without TUNNEL_KEY */
	__u32 has_key; /* 0 or 1 */
};

/* dmvpn_tunnel and dmvpn_device hold the same value. */
struct tunnel {
	struct ip_addr local;   /* outer source of IPv4; zeros: none */
	__u32 ifindex;          /* tunnel device */
	__u32 underlay_ifindex; /* where outer packets leave */
	__u32 key;
	__u32 flags;           /* enum tunnel_flag */
	__u32 mark;            /* of outer packets */
	__u32 mtu;             /* of the tunnel device */
	__u32 fallback_peer;   /* peer id of the NHS that takes what is unresolved; 0 none */
	__u32 underlay_table;  /* FIB table (VRF) of the underlay; 0 main rules */
	__u32 fallback6_peer;  /* fallback_peer of inner IPv6 */
	__be32 broadcast;      /* of the tunnel's network, RFC 919; 0 none */
	struct ip_addr local6; /* outer source of IPv6; zeros: none */
};

/* dmvpn_device: which tunnel a tunnel device is. */
struct device_key {
	__u32 ifindex;
};

/* The value of dmvpn_nbma and dmvpn_nexthop: the place in dmvpn_peer. */
struct peer_id {
	__u32 peer;
};

/* dmvpn_nbma: who sent it. port is 0 for plain GRE. */
struct nbma_key {
	struct ip_addr nbma;
	__u32 tunnel_ifindex;
	__u16 port;
	__u16 pad;
};

/* dmvpn_nexthop: who gets it. */
struct nexthop_key {
	struct ip_addr nexthop; /* overlay address */
	__u32 tunnel_ifindex;
};

enum peer_flag {
	PEER_UP = 1 << 0,
};

/* dmvpn_peer[id]: id 0 is nobody. */
struct peer {
	struct ip_addr nbma;
	struct ip_addr protocol; /* overlay address, for the reader of a dump */
	__u32 tunnel_ifindex;
	__u32 flags; /* enum peer_flag */
	__u32 mtu;   /* inner packets above this are too big; 0: the tunnel's */
	__u16 port;
	__u16 pad;
};

/* dmvpn_stats[id], one a CPU. Stamps are bpf_ktime_get_coarse_ns (monotonic). */
struct peer_stats {
	__u64 rx_packets;
	__u64 rx_bytes; /* inner octets */
	__u64 rx_last_ns;
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 tx_last_ns;
};

/* dmvpn_drop: peer 0 where the peer is not known. */
struct drop_key {
	__u32 peer;
	enum drop_reason reason;
};

struct drop_count {
	__u64 packets;
	__u64 bytes;
};

/* How ESP comes to the daemon. */
enum esp_way {
	ESP_UDP = 1 << 0, /* port 4500, RFC 3948 */
	ESP_RAW = 1 << 1, /* IP protocol 50 */
};

/* dmvpn_esp: a local address where the sockets of ESP are told what to do with an unknown
 * SPI: by these ways it is counted and the peer told, by others left alone. dmvpn_spi: SPI,
 * in host order, of an inbound SA, reserved or installed; the value is 1. dmvpn_refused: by
 * socket cookie, what dmvpn_filter kept from a UDP socket. */
struct esp_local {
	__u32 tunnel_ifindex; /* of one that has the address, for events */
	__u32 ways;           /* enum esp_way */
};

enum event_kind {
	EVENT_REDIRECT = 1,     /* came in by the tunnel and leaves by it */
	EVENT_MISS = 2,         /* the next hop has no peer: resolve it */
	EVENT_UNKNOWN_NBMA = 3, /* data from an unregistered NBMA address */
	EVENT_UNKNOWN_SPI = 4,  /* ESP that no SA is there for */
};

/* Who talks to whom, for one kind of event. */
struct flow_key {
	struct ip_addr source;
	struct ip_addr destination;
	__u32 tunnel_ifindex;
	enum event_kind kind;
};

/* dmvpn_redirect[hash of the flow]: token bucket of the flow that had the last
 * token. */
struct flow_bucket {
	struct flow_key flow;
	__u64 last_ns;
};

/* One record of the ring buffer dmvpn_events. */
struct event {
	enum event_kind kind;
	__u32 tunnel_ifindex;
	__u32 peer;              /* whom the packet goes to; 0 none */
	__u32 length;            /* octets in packet */
	struct ip_addr nexthop;  /* REDIRECT, MISS: overlay next hop; UNKNOWN: outer source */
	__u8 packet[EVENT_SNAP]; /* from its IP header: the inner one; UNKNOWN_SPI: the outer one */
};

/* The 8 octets in front of an inner packet that goes to Go. The first nibble
 * is neither 4 nor 6. */
#define TAG_MAGIC 0xd0
struct tag {
	__u8 magic;  /* TAG_MAGIC */
	__u8 reason; /* enum tag_reason */
	__u16 drop;  /* enum drop_reason if Go has no way either */
	__u32 peer;  /* host order; 0 unknown */
};

enum tag_reason {
	TAG_DATA = 1, /* protected tunnel: seal and send */
	TAG_MISS = 2, /* no peer for the next hop */
	TAG_GSO = 3, /* GSO that BPF cannot encapsulate, or no way that it sees: segment and send */
	TAG_MULTICAST = 4,
	TAG_TOO_BIG = 5, /* above the MTU towards the peer: answer, or cut to pieces */
};
