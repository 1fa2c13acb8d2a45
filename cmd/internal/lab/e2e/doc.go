// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end tests: our daemons with real traffic in
// namespaces. Unless a test draws another, the network is package cloud's.
package e2e
