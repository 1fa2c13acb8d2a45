/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
//go:build ignore

/* The TC programs: egress of a tunnel device, its ingress where that is in a VRF, ingress of an
 * underlay device. And the filter of the sockets of ESP, and the choice of a tunnel device's queue. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "consts.h"
#include "drop.h"
#include "structs.h"
#include "maps.h"
#include "config.h"
#include "parse.h"
#include "count.h"
#include "event.h"
#include "ecn.h"
#include "mss.h"
#include "route.h"
#include "vrf.h"
#include "encap.h"
#include "egress.h"
#include "ingress.h"
#include "spi.h"
#include "steer.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* dmvpn_encap stands at the egress of a tunnel device. */
SEC("tc")
int dmvpn_encap(struct __sk_buff *skb)
{
	return egress(skb);
}

/* dmvpn_decap stands at the ingress of an underlay device. */
SEC("tc")
int dmvpn_decap(struct __sk_buff *skb)
{
	return ingress(skb);
}

/* dmvpn_arrive stands at the ingress of a tunnel device that is in a VRF. */
SEC("tc")
int dmvpn_arrive(struct __sk_buff *skb)
{
	return arrive(skb);
}

/* dmvpn_filter stands at the sockets of ESP. */
SEC("socket")
int dmvpn_filter(struct __sk_buff *skb)
{
	return filter(skb);
}

/* dmvpn_steer stands between the egress of a tunnel device and its queues. */
SEC("socket")
int dmvpn_steer(struct __sk_buff *skb)
{
	return steer(skb);
}
