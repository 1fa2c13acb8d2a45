// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
)

// mostCleared bounds what one request names: the line of a request is no longer than its server reads.
const mostCleared = 100

// ParsePrefix reads a prefix or an address, which is a prefix of its own; bits behind the length
// are passed over.
func ParsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		return p.Masked(), nil
	}
	return netip.Prefix{}, fmt.Errorf("%q is neither a prefix nor an address: write 10.10.2.0/24, 2001:db8:2::/48 or 10.10.2.10", text)
}

// ClearShortcuts asks for /v1/shortcuts/clear.
func (c *Client) ClearShortcuts(ctx context.Context, tunnel string, within []netip.Prefix) (done Cleared, err error) {
	q := url.Values{}
	if tunnel != "" {
		q.Set("tunnel", tunnel)
	}
	for _, p := range within {
		q.Add("prefix", p.String())
	}
	err = c.request(ctx, http.MethodPost, "shortcuts/clear?"+q.Encode(), &done)
	return done, err
}

func addClear(mux *http.ServeMux, source Source) {
	handleWith(mux, "shortcuts/clear", http.MethodPost, requestTime, func(ctx context.Context, q url.Values) (any, error) {
		if err := known(q, "prefix", "tunnel"); err != nil {
			return nil, err
		}
		list := q["prefix"]
		if len(list) > mostCleared {
			return nil, badRequest{fmt.Errorf("%d prefixes: name %d at most, or what holds them", len(list), mostCleared)}
		}
		var within []netip.Prefix
		for _, text := range list {
			p, err := ParsePrefix(text)
			if err != nil {
				return nil, badRequest{err}
			}
			within = append(within, p)
		}
		return source.ClearShortcuts(ctx, q.Get("tunnel"), within)
	})
}
