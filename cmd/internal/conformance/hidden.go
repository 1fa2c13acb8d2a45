// SPDX-License-Identifier: Apache-2.0

package conformance

// Hidden are the rows of docs/nhrp-conformance.md that cannot be judged from outside, with
// the reason.
var Hidden = map[string]string{}
