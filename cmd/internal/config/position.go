// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	"github.com/pelletier/go-toml/v2/unstable"
)

// position is a place in the file: line and column from 1, columns in octets.
type position struct{ line, column int }

// places says where each key and each value of a document stands. Paths read
// tunnel.dmvpn0.nhs[0].routes[1].
type places struct {
	keys   map[string]position
	values map[string]position
	arrays map[string]int // tables seen of [[path]]
}

// locate walks a document that is known to be good TOML.
func locate(document []byte) places {
	p := places{keys: map[string]position{}, values: map[string]position{}, arrays: map[string]int{}}
	var parser unstable.Parser
	parser.Reset(document)
	table := ""
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.Table:
			table = p.walkKey(&parser, "", node.Key())
		case unstable.ArrayTable:
			path := p.walkKey(&parser, "", node.Key())
			table = fmt.Sprintf("%s[%d]", path, p.arrays[path])
			p.arrays[path]++
			p.keys[table] = p.keys[path]
		case unstable.KeyValue:
			p.walkValue(&parser, p.walkKey(&parser, table, node.Key()), node.Value())
		}
	}
	return p
}

// walkKey notes where the parts of a dotted key stand and gives the whole path.
// A part that names an array of tables stands for its last table.
func (p places) walkKey(parser *unstable.Parser, base string, key unstable.Iterator) string {
	path := base
	for key.Next() {
		if n := p.arrays[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
		path = join(path, string(key.Node().Data))
		at := place(parser, key.Node().Raw)
		if _, known := p.keys[path]; !known || key.IsLast() {
			p.keys[path] = at
		}
	}
	return path
}

func (p places) walkValue(parser *unstable.Parser, path string, value *unstable.Node) {
	switch value.Kind {
	case unstable.Array:
		p.values[path] = p.keys[path]
		elements, i := value.Children(), 0
		for elements.Next() {
			if elements.Node().Kind == unstable.Comment {
				continue
			}
			element := fmt.Sprintf("%s[%d]", path, i)
			p.keys[element] = p.keys[path]
			p.walkValue(parser, element, elements.Node())
			i++
		}
	case unstable.InlineTable:
		p.values[path] = place(parser, value.Raw)
		members := value.Children()
		for members.Next() {
			if members.Node().Kind != unstable.KeyValue {
				continue
			}
			p.walkValue(parser, p.walkKey(parser, path, members.Node().Key()), members.Node().Value())
		}
	default:
		at := value.Raw
		if at.Length == 0 {
			at = parser.Range(value.Data)
		}
		p.values[path] = place(parser, at)
	}
}

func place(parser *unstable.Parser, r unstable.Range) position {
	start := parser.Shape(r).Start
	return position{start.Line, start.Column}
}

func join(base, key string) string {
	if base == "" {
		return key
	}
	return base + "." + key
}
