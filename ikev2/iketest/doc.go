// SPDX-License-Identifier: Apache-2.0

// Package iketest holds what the tests of ikev2 share: the golden captures of
// strongSwan with their keys. No program imports it.
//
// The captures (folder captures) come from strongSwan 5.9.8 at both ends; each
// NAME.pcap has beside it NAME.json with the configuration of both sides and,
// for every IKE SA and ESP SA, the keys that charon logged.
package iketest
