// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"dmvpn/cmd/internal/config"
	"dmvpn/ikev2/auth"
	"dmvpn/nhrpd/engine"
)

// allowed says what the configuration lets an identity register; nil where it lists
// nobody. Identities are named as auth.Identity.Name does.
func allowed(list []config.Authorization) (func(string) (engine.Allowance, bool), error) {
	if len(list) == 0 {
		return nil, nil
	}
	patterns := make([]auth.Pattern, len(list))
	for i, a := range list {
		p, err := auth.ParsePattern(a.Peer)
		if err != nil {
			return nil, fmt.Errorf("authorize: %w", err)
		}
		patterns[i] = p
	}
	return func(name string) (engine.Allowance, bool) {
		// One that no configuration can name fits "*" alone.
		who, err := auth.ParseIdentity(name)
		for i, p := range patterns {
			if err == nil && p.Matches(who) || list[i].Peer == "*" {
				return engine.Allowance{Addresses: list[i].Addresses, Networks: list[i].Networks}, true
			}
		}
		return engine.Allowance{}, false
	}, nil
}
