/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every drop has a number and a name. Once released, numbers are never
 * reused: they are an interface to scripts. Go mirrors this list in loader/tables/drop.go. */
#pragma once

enum drop_reason {
	DROP_NONE = 0,
	DROP_TRUNCATED = 1,    /* shorter than its own headers say */
	DROP_GRE_RESERVED = 2, /* RFC 2784 2.3: a reserved bit is set */
	DROP_GRE_ROUTING = 3,  /* RFC 1701 routing, obsolete */
	DROP_GRE_VERSION = 4,  /* version is not 0 */
	DROP_UNKNOWN_TUNNEL =
		5,             /* no tunnel for local address and key; counted, left to the stack */
	DROP_UNKNOWN_PEER = 6, /* data from an NBMA address that nobody registered */
	DROP_INNER_PROTOCOL = 7,  /* GRE carries what the tunnel does not */
	DROP_INNER_HEADER = 8,    /* inner IP header is malformed, or cannot be read */
	DROP_ECN = 9,             /* RFC 6040: outer CE over inner not-ECT */
	DROP_NO_ROUTE = 10,       /* the FIB has no way for the destination */
	DROP_NO_NEXTHOP = 11,     /* next hop unresolved, and no hub to go by */
	DROP_TOO_BIG = 12,        /* above the peer's MTU */
	DROP_ADJUST_ROOM = 13,    /* the kernel refused to grow or shrink the packet */
	DROP_PEER_DOWN = 14,      /* the peer's entry is disabled */
	DROP_CLEARTEXT = 15,      /* GRE in clear on a protected tunnel */
	DROP_MULTICAST = 16,      /* nobody to copy multicast to */
	DROP_RECURSION = 17,      /* the outer packet would go into its own tunnel */
	DROP_QUEUE_FULL = 18,     /* NHRP, or the socket of ESP */
	DROP_SLOW_PATH = 19,      /* slow path: the send failed */
	DROP_NO_SA = 20,          /* no usable SA with the peer */
	DROP_REPLAY = 21,         /* ESP: seen before, or behind the window */
	DROP_INTEGRITY = 22,      /* ESP: the check value is wrong */
	DROP_UNKNOWN_SPI = 23,    /* ESP: nobody has this SPI */
	DROP_SPOOFED = 24,        /* the inner source is not the peer's */
	DROP_MULTICAST_RATE = 25, /* more multicast than the tunnel may send */
	DROP_MAX,
};
