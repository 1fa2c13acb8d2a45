// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"cmp"
	"slices"
)

// A Case is a row of the list that can be seen from outside, in one role of the target.
type Case struct {
	ID      string // of docs/nhrp-conformance.md
	Role    Role
	Section string // of RFC 2332, or what else it is from
	Level   Level
	Text    string

	stations int  // addresses that it takes at once, 1 if 0
	alone    bool // it would disturb others, or be disturbed
	last     bool // against a client: the client does not come back to this NHS soon, or not at all
	run      func(*trial)
}

// serverCases are the chapters for a server.
var serverCases = [][]Case{
	headerCases, commonCases, requestCases, replyCases, registrationCases, purgeCases, errorCases, extensionCases, recordCases,
	forwardCases, natCases, redirectCases, hostileCases, placeCases,
}

// Cases gives all of them, by id.
func Cases() []Case {
	var all []Case
	for role, chapters := range map[Role][][]Case{NHS: serverCases, NHC: clientCases} {
		for _, chapter := range chapters {
			for _, c := range chapter {
				c.Role = role
				c.stations = max(c.stations, 1)
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Case) int {
		return cmp.Or(cmp.Compare(order(a.ID), order(b.ID)), cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Role, b.Role))
	})
	return all
}

// order is the chapter's place in the list.
func order(id string) int {
	return slices.Index([]string{
		"HD", "CM", "RQ", "RP", "RG", "RR", "PU", "ER", "EX", "RC", "AU", "FW", "CA", "NA", "TI", "SC", "HU", "SE",
	}, id[:2])
}

// A Verdict is what came of a case.
type Verdict string

// Verdicts. Differs: the RFC leaves it open, or has no word as strong as MUST for it, and the
// target does otherwise than the list has it.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "FAIL"
	Differs       Verdict = "differs"
	NotApplicable Verdict = "n/a"
	Inconclusive  Verdict = "inconclusive"
)

// A Result is a case's verdict, and what came instead.
type Result struct {
	ID      string  `json:"id"`
	Role    Role    `json:"role"`
	Section string  `json:"section"`
	Level   Level   `json:"level"`
	Text    string  `json:"text"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"`
}
