// SPDX-License-Identifier: Apache-2.0

package config

// nearest gives the known key that a misspelt one most likely means, "" if none
// is close: within a third of its letters, changed, added or left out.
func nearest(key string, known []string) string {
	best, bestDistance := "", len(key)/3+1
	for _, k := range known {
		if d := distance(key, k); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is Levenshtein's, over octets.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
