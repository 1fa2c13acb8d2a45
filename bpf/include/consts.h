/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes and protocol numbers. Go reads the sizes through the map specs. */
#pragma once

/* Specification: RFC 2784, RFC 2890, RFC 2332, RFC 3168, RFC 3948, RFC 4303. */
#define GRE_PROTO_IPV4 0x0800
#define GRE_PROTO_IPV6 0x86dd
#define GRE_PROTO_NHRP 0x2001
#define GRE_F_CHECKSUM 0x8000
#define GRE_F_ROUTING 0x4000
#define GRE_F_KEY 0x2000
#define GRE_F_SEQUENCE 0x1000
#define GRE_F_RESERVED 0x0c00 /* bits 4 and 5; bits 6 to 12 are ignored on receipt */
#define GRE_F_VERSION 0x0007
#define GRE_MAX_LEN 16
#define ESP_HEADER_LEN 8 /* SPI and sequence number */

/* Implementation. */
#define MAX_TUNNELS 256
#define MAX_PEERS 65536
#define MAX_NEXTHOPS 131072
#define MAX_DROPS 16384
#define MAX_SPIS 262144
#define MAX_SOCKETS 1024
#define MAX_FLOWS 32768 /* a power of two */
#define EVENT_RING_BYTES (1 << 20)
#define EVENT_SNAP 128 /* octets of the packet that an event carries */
#define OUTER_TTL 64
#define FLOW_LABEL_MASK 0xfffff
#define REDIRECT_INTERVAL_NS 8000000000ULL /* per source and destination */
#define MISS_INTERVAL_NS 1000000000ULL     /* per source and destination */
#define UNKNOWN_INTERVAL_NS 1000000000ULL  /* per NBMA address, and port of ESP */
#define UNKNOWN_FLOWS 64 /* buckets of all NBMA addresses together, a power of two */
#define SPI_FLOWS 256    /* the same, for ESP */
