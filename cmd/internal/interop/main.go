// SPDX-License-Identifier: Apache-2.0

// Command interop tries our IKE against the real strongSwan, each scenario in both
// roles: with us and with charon as the initiator. It makes networks of namespaces
// and wants a kernel with ESP and GRE: tools/interop/run starts it in the lab's VM.
//
//	interop -old ROOT -new ROOT [-out DIR] [-j N] [-self] [-bare] [-esp] [-list] [SCENARIO...]
//
// ROOT are root file systems with strongSwan 5.9 and 6.0 in it. A SCENARIO may be a
// beginning of names. -self lets strongSwan play both roles, which proves the
// scenarios themselves. -bare does without ESP in the kernel: both ends agree on the
// same SAs, in tunnel mode and UDP as strongSwan's ESP in user space wants it, which
// nothing goes through. The end status is 1 if anything failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A program makes an end of one of the programs: where it runs, and where its peer.
type program func(at, peer place) end

// A role is a column of the table: who initiates, and who responds.
type role struct {
	name          string
	first, second func(root string) program
}

// beside finds a program that was built next to this one.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func strongSwan(root string) program {
	return func(at, peer place) end { return &swan{root: root, at: at, peer: peer} }
}

func we(string) program {
	return func(at, peer place) end { return &ours{program: beside("ikepeer"), at: at, peer: peer} }
}

func daemonOurs(string) program {
	return func(at, peer place) end { return &daemon{program: beside("dmvpnd"), at: at, peer: peer} }
}

func router(root string) program {
	return func(at, peer place) end { return &gateway{swan: &swan{root: root, at: at, peer: peer}} }
}

// A result is a cell of the table.
type result struct {
	scenario *scenario
	role     role
	folder   string
	took     time.Duration
	err      error
}

func main() {
	old := flag.String("old", "", "root file system with strongSwan 5.9")
	recent := flag.String("new", "", "root file system with strongSwan 6.0")
	out := flag.String("out", "", "folder for logs and captures")
	workers := flag.Int("j", 4, "scenarios at a time")
	self := flag.Bool("self", false, "strongSwan in both roles")
	bare := flag.Bool("bare", false, "without ESP in the kernel, and without the scenarios with a NAT")
	esp := flag.Bool("esp", false, "dmvpnd and a router of strongSwan and FRR")
	list := flag.Bool("list", false, "name the scenarios")
	flag.Parse()
	all := scenarios()
	if *esp {
		all = espScenarios()
	}
	chosen, err := choose(all, flag.Args())
	if *bare {
		chosen = withoutESP(chosen)
	}
	if err == nil && !*list && (*old == "" || *recent == "" || *out == "") {
		err = fmt.Errorf("name the two root file systems and the folder: -old, -new, -out")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(2)
	}
	if *list {
		for _, s := range chosen {
			fmt.Println(s.name)
		}
		return
	}
	roles := []role{{"we initiate", we, strongSwan}, {"strongSwan initiates", strongSwan, we}}
	if *esp {
		roles = []role{{"we initiate", daemonOurs, router}, {"strongSwan initiates", router, daemonOurs}}
	}
	if *self && *esp {
		roles = []role{{"strongSwan with itself", router, router}}
	} else if *self {
		roles = []role{{"strongSwan with itself", strongSwan, strongSwan}}
	}
	root := func(s *scenario) string {
		if s.new {
			return *recent
		}
		return *old
	}
	if !*bare {
		err := warmUp()
		if err == nil && *esp {
			err = tun()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			os.Exit(2)
		}
	}
	began := time.Now()
	results := runAll(chosen, roles, root, *workers, *out)
	failed := report(results, roles)
	fmt.Printf("%d trials, %d failed, %.0f s\n", len(results), failed, time.Since(began).Seconds())
	if failed > 0 {
		os.Exit(1)
	}
}

// choose gives those scenarios whose names begin with one of the words, or all.
func choose(all []*scenario, words []string) ([]*scenario, error) {
	if len(words) == 0 {
		return all, nil
	}
	var chosen []*scenario
	for _, w := range words {
		if !slices.ContainsFunc(all, func(s *scenario) bool { return strings.HasPrefix(s.name, w) }) {
			return nil, fmt.Errorf("no scenario begins with %q: -list names them", w)
		}
	}
	for _, s := range all {
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(s.name, w) }) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// withoutESP gives what can be tried where the kernel has no ESP.
func withoutESP(all []*scenario) (bare []*scenario) {
	for _, s := range all {
		if !s.nat {
			s.both.bare = true
			bare = append(bare, s)
		}
	}
	return bare
}

// runAll runs scenarios side by side, those that wait for timers first, and gives the
// results in the order of the table.
func runAll(chosen []*scenario, roles []role, root func(*scenario) string, workers int, out string) []*result {
	var all []*result
	for _, s := range chosen {
		for i, r := range roles {
			all = append(all, &result{scenario: s, role: r, folder: filepath.Join(out, fmt.Sprintf("%s-%d", s.name, i+1))})
		}
	}
	queue := make(chan *result, len(all))
	for _, slow := range []bool{true, false} {
		for _, r := range all {
			if r.scenario.slow == slow {
				queue <- r
			}
		}
	}
	close(queue)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			for r := range queue {
				began := time.Now()
				program := root(r.scenario)
				r.err = r.scenario.run(context.Background(), fmt.Sprintf("interop%d", i), r.role.first(program), r.role.second(program), r.folder)
				r.took = time.Since(began)
				fmt.Println(r)
			}
		})
	}
	group.Wait()
	return all
}

func (r *result) String() string {
	verdict := "ok"
	if r.err != nil {
		verdict = "FAILED: " + r.err.Error()
	}
	return fmt.Sprintf("%-36s %-24s %5.1f s  %s", r.scenario.name, r.role.name, r.took.Seconds(), verdict)
}
