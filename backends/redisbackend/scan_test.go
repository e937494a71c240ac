package redisbackend

import "testing"

// Rule: a cursor comes from anywhere and means nothing but a position on a node
// that exists.
func FuzzCursor(f *testing.F) {
	nodes := []node{{addr: "10.0.0.1:6379"}, {addr: "10.0.0.2:6379"}, {addr: "[::1]:6379"}}
	for _, seed := range []string{"", "0@10.0.0.1:6379", "17@[::1]:6379", "18446744073709551615@10.0.0.2:6379", "x", "@", "1@elsewhere:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		i, position, err := locate(nodes, cursor)
		if err != nil {
			return
		}
		next := following(nodes, i, position)
		if position != 0 {
			if j, again, err := locate(nodes, next); err != nil || j != i || again != position {
				t.Errorf("cursor %q became %q", cursor, next)
			}
		} else if (i == len(nodes)-1) != (next == "") {
			t.Errorf("after node %d of %d comes %q", i, len(nodes), next)
		}
	})
}
