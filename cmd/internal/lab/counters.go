// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counters gives the namespace's protocol counters as `nstat` names them
// (IpInReceives, UdpInErrors, TcpExtTCPLossProbes, …).
func (n *Node) Counters() (map[string]int64, error) {
	all := map[string]int64{}
	for _, file := range []string{"snmp", "netstat"} {
		var text []byte
		err := n.Do(func() (err error) {
			// /proc/net is the main thread's, which is in no node.
			text, err = os.ReadFile("/proc/thread-self/net/" + file)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("node %s: counters: %w", n.Name, err)
		}
		readCounters(string(text), all)
	}
	return all, nil
}

// readCounters reads pairs of lines: names, then values.
func readCounters(text string, into map[string]int64) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || len(names) != len(values) {
			continue
		}
		group := strings.TrimSuffix(names[0], ":")
		for j := 1; j < len(names); j++ {
			if v, err := strconv.ParseInt(values[j], 10, 64); err == nil {
				into[group+names[j]] = v
			}
		}
	}
}

// checksumErrors are the counters of packets whose checksum was wrong.
var checksumErrors = []string{"IcmpInCsumErrors", "TcpInCsumErrors", "UdpInCsumErrors", "UdpLiteInCsumErrors", "IpExtInCsumErrors"}

// ChecksumErrors is how many packets the node has received with a wrong checksum.
func (n *Node) ChecksumErrors() (int64, error) {
	c, err := n.Counters()
	var sum int64
	for _, name := range checksumErrors {
		sum += c[name]
	}
	return sum, err
}
