/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs need of the kernel's interface, declared here so that
 * clang alone compiles them: no vmlinux.h, no kernel headers. Layouts and
 * numbers are fixed by the kernel's user interface. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_F_NO_PREALLOC = 1 << 0,    /* map flag */
	BPF_F_INGRESS = 1 << 0,        /* bpf_redirect */
	BPF_F_RECOMPUTE_CSUM = 1 << 0, /* bpf_skb_store_bytes: of skb->csum */
};

/* bpf_skb_adjust_room */
enum {
	BPF_ADJ_ROOM_MAC = 1,
	BPF_F_ADJ_ROOM_FIXED_GSO = 1 << 0,
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 1 << 1,
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 1 << 2,
	BPF_F_ADJ_ROOM_ENCAP_L4_GRE = 1 << 3,
};

/* bpf_skb_load_bytes_relative */
enum {
	BPF_HDR_START_NET = 1,
};

/* What a TC program returns. UNSPEC lets the next program see the packet. */
enum {
	TC_ACT_UNSPEC = -1,
	TC_ACT_OK = 0,
	TC_ACT_SHOT = 2,
};

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	ETH_HLEN = 14,
	ETH_P_IP = 0x0800,
	ETH_P_IPV6 = 0x86dd,
	ETH_P_8021Q = 0x8100,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_GRE = 47,
	IPPROTO_ESP = 50,
	EALREADY = 114,
	PACKET_HOST = 0, /* __sk_buff.pkt_type: for this device */
	VLAN_VID_MASK = 0x0fff,
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol; /* big-endian */
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
};

/* bpf_fib_lookup */
enum {
	BPF_FIB_LOOKUP_OUTPUT = 1 << 1, /* the route leaves by ifindex */
};

enum {
	BPF_FIB_LKUP_RET_SUCCESS = 0,
	BPF_FIB_LKUP_RET_BLACKHOLE = 1,
	BPF_FIB_LKUP_RET_UNREACHABLE = 2,
	BPF_FIB_LKUP_RET_PROHIBIT = 3,
	BPF_FIB_LKUP_RET_NOT_FWDED = 4,
	BPF_FIB_LKUP_RET_FWD_DISABLED = 5,
	BPF_FIB_LKUP_RET_UNSUPP_LWT = 6,
	BPF_FIB_LKUP_RET_NO_NEIGH = 7,
	BPF_FIB_LKUP_RET_FRAG_NEEDED = 8,
};

struct bpf_fib_lookup {
	__u8 family; /* out: of the gateway, RFC 8950 */
	__u8 l4_protocol;
	__be16 sport;
	__be16 dport;
	__u16 tot_len; /* in: 0 or the IP length to check; out: the MTU */
	__u32 ifindex;
	union {
		__u32 tos; /* in: the first octet */
		__be32 flowinfo;
	};
	union {
		__be32 ipv4_src;
		__u32 ipv6_src[4];
	};
	union {
		__be32 ipv4_dst; /* out: the gateway if there is one */
		__u32 ipv6_dst[4];
	};
	__u32 vlan;
	__u8 smac[6];
	__u8 dmac[6];
};

struct bpf_redir_neigh {
	__u32 nh_family;
	union {
		__be32 ipv4_nh;
		__u32 ipv6_nh[4];
	};
};

/* Headers on the wire. */
struct ethhdr {
	__u8 destination[6];
	__u8 source[6];
	__be16 protocol;
};

struct iphdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__sum16 checksum;
	__be32 source;
	__be32 destination;
};

struct ip6hdr {
	__be32 flow; /* version, traffic class, flow label */
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__u8 source[16];
	__u8 destination[16];
};

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

struct udphdr {
	__be16 source;
	__be16 destination;
	__be16 length;
	__sum16 checksum;
};

struct tcphdr {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgment;
	__u8 offset; /* upper nibble: header length in words */
	__u8 flags;
	__be16 window;
	__sum16 checksum;
	__be16 urgent;
};

#define TCP_SYN 0x02
