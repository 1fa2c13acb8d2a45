// SPDX-License-Identifier: Apache-2.0

package conformance

// Reasons that several rows share.
const (
	inside   = "it is about what is inside of the system"
	route    = "routes of the target would have to change"
	protects = "the suite speaks plain GRE: it has no IPsec"
	carries  = "it is about data of the target's own"
	ended    = "the target would have to be ended or started"
	policy   = "the target would have to be configured for it"
)

// Hidden are the rows of docs/nhrp-conformance.md that cannot be judged from outside, with
// the reason; rows that are of dmvpn's own alone are not here.
var Hidden = map[string]string{
	"CM-08": "which of several next hops is used is seen by data alone",
	"RQ-02": carries,
	"RP-04": "it takes a target that has several entries for an address",
	"RP-06": policy,
	"RP-09": policy,
	"RP-14": carries,
	"RG-06": protects,
	"RG-13": ended,
	"RG-19": ended,
	"PU-06": "it takes minutes, and a binding of the target's own that ends",
	"PU-09": ended,
	"PU-11": carries,
	"PU-12": route,
	"RC-04": "CA-04 looks at it, where anything is answered from cache",
	"RC-05": policy,
	"RC-10": policy,
	"AU-05": "no implementation has the keyed form",
	"AU-06": "no implementation has the keyed form",
	"AU-08": protects,
	"FW-11": route,
	"CA-01": inside,
	"CA-05": route,
	"CA-07": carries,
	"CA-10": "it would take the target's memory",
	"CA-11": ended,
	"NA-07": protects,
	"NA-08": protects,
	"NA-09": protects,
	"SC-01": policy,
	"SC-02": carries,
	"SC-03": carries,
	"SC-04": carries,
	"SC-05": carries,
	"SC-06": carries,
	"SC-08": carries,
	"SC-09": route,
	"SC-10": carries,
	"SC-11": carries,
	"SC-12": carries,
	"HU-02": "it takes thousands of clients that are the target",
	"HU-03": policy,
	"HU-08": policy,
	"HU-10": "the target asks a DNS server for it",
	"SE-01": protects,
}
