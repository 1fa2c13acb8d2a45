// SPDX-License-Identifier: Apache-2.0

package sa

// failures are requests of IKE_SA_INIT that came to nothing. They leave no half-open SA, yet
// each cost its part of the work: each counts like one, and is forgotten at the pace at which as
// many half-open ones as make us ask for cookies would go.
type failures struct {
	Count int
	Since instant // up to then they were forgotten
}

// failed counts one more.
func (m *Machine) failed() {
	m.Failures.Count = min(m.failing()+1, 2*max(m.config.Limits.CookieThreshold, 1))
}

// failing is how many are not forgotten.
func (m *Machine) failing() int {
	f, limits := &m.Failures, m.config.Limits
	pause := instant(limits.HalfOpenTime) / instant(max(limits.CookieThreshold, 1))
	gone := (m.now - f.Since) / max(pause, 1)
	if f.Count = max(f.Count-int(min(gone, instant(f.Count))), 0); f.Count == 0 {
		f.Since = m.now
		return 0
	}
	f.Since += gone * max(pause, 1)
	return f.Count
}
