/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Constants that the loader may set before a program is loaded. */
#pragma once

/* Octets of link header in front of the IP header, at the egress of a tunnel
 * device and at the ingress of an underlay device: 0 or 14. A TUN has none;
 * BPF_PROG_TEST_RUN always gives 14. */
const volatile __u32 tunnel_l2_len = 0;
const volatile __u32 underlay_l2_len = 14;

/* Queues of the tunnel device that packets are put into. */
const volatile __u32 queue_count = 1;
