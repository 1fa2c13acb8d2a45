// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// A sheet is an SVG picture that is being drawn. Colours are classes of its style sheet,
// which has a set for light and one for dark surroundings.
type sheet struct {
	width, height int
	body          strings.Builder
}

// palette are the colours for light or for dark surroundings. The ground is drawn too, so
// that the picture can stand anywhere.
type palette struct{ ground, edge, text, faint, box, net, hub, cut, gone, nat, natBox string }

var (
	light = palette{"#ffffff", "#d0d7de", "#1f2328", "#59636e", "#f6f8fa", "#eaf2fb", "#0969da", "#1a7f37", "#8c959f", "#9a6700", "#fff8e5"}
	dark  = palette{"#0d1117", "#3d444d", "#f0f6fc", "#9198a1", "#151b23", "#121d2f", "#4493f8", "#3fb950", "#7d8590", "#d29922", "#221a0b"}
)

// rules are plain ones: not every viewer knows variables.
func (p palette) rules() string {
	return strings.NewReplacer("GROUND", p.ground, "EDGE", p.edge, "TEXT", p.text, "FAINT", p.faint, "NATBOX", p.natBox, "BOX", p.box,
		"NET", p.net, "HUB", p.hub, "CUT", p.cut, "GONE", p.gone, "NAT", p.nat).Replace(`
text { fill:TEXT } .mono, .faint { fill:FAINT }
.ground, .pill { fill:GROUND } .ground { stroke:EDGE } .box { fill:BOX; stroke:EDGE } .net { fill:NET; stroke:EDGE }
.natbox { fill:NATBOX; stroke:NAT } .zone { stroke:NAT } .lan { stroke:EDGE } .flow { stroke:GROUND }
.hub { stroke:HUB } .cut { stroke:CUT } .gone, .none { stroke:GONE }
`)
}

// shapes is what light and dark have in common.
const shapes = `
text { font-family: -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; font-size:13px; stroke:none }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size:11.5px }
.title { font-size:18px; font-weight:600 } .name { font-weight:600 } .mid { text-anchor:middle }
.box, .natbox { stroke-width:1.5 } .zone { fill:none; stroke-dasharray:3 5 }
.link { fill:none; stroke-width:3; stroke-linecap:round } .link.lan { stroke-width:1.5 }
.link.gone { stroke-dasharray:2 8 } .link.none { stroke-dasharray:1 12 } .pill { stroke-width:1.2 }
.link.flow { stroke-width:1.4; stroke-dasharray:1 11; animation:flow 1.2s linear infinite }
@keyframes flow { to { stroke-dashoffset:-24 } }
@media (prefers-reduced-motion: reduce) { .link.flow { animation:none } }
`

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func (s *sheet) add(format string, args ...any) { fmt.Fprintf(&s.body, format+"\n", args...) }

// box draws a rectangle.
func (s *sheet) box(class string, x, y, w, h, round int) {
	s.add(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, class, x, y, w, h, round)
}

// text writes a line from a point; with class mid the point is its middle.
func (s *sheet) text(class string, x, y int, text string) {
	s.add(`<text class="%s" x="%d" y="%d">%s</text>`, class, x, y, escape.Replace(text))
}

// line draws along a path, as SVG has it.
func (s *sheet) line(class, path string) { s.add(`<path class="%s" d="%s"/>`, class, path) }

// pill writes lines on a label around a point, edged like its link.
func (s *sheet) pill(class string, x, y int, lines ...string) {
	const character, lineHeight = 7, 15
	longest := 0
	for _, l := range lines {
		longest = max(longest, len([]rune(l)))
	}
	w, h := longest*character+18, len(lines)*lineHeight+7
	s.box("pill "+class, x-w/2, y-h/2, w, h, 9)
	for i, l := range lines {
		s.text("mono mid", x, y-h/2+14+i*lineHeight, l)
	}
}

// document is the whole picture, which title describes to who does not see it.
func (s *sheet) document(title string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="%[3]s">
<title>%[3]s</title>
<style>%[4]s%[5]s@media (prefers-color-scheme: dark) {%[6]s}
</style>
%[7]s</svg>
`, s.width, s.height, escape.Replace(title), shapes, light.rules(), dark.rules(), s.body.String())
}
