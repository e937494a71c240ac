package backendtest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cachekit-io/cachekit-go/backends"
)

func readManyCases() []Case {
	return []Case{
		{Name: "ReadMany", Rule: "ReadMany reads what GetMany does, and its results are the caller's as is the memory that he gave", Needs: []string{"Batcher", "BatchReader"}, run: func(t *probe) {
			b := t.backend()
			c := backends.CapabilitiesOf(b)
			if n := len(c.BatchReader.ReadMany(t.ctx, nil, bytesOf('0'))); n != 0 {
				t.Errorf("an empty batch has %d results", n)
			}
			var ask []string
			for i := range 100 {
				ask = append(ask, key(fmt.Sprint(i)))
				t.set(b, ask[i], payload(fmt.Sprint(i), i*50), hour)
			}
			ask = append(ask, key("none"), ask[7], ask[7], keyCanary+"\n")
			want := c.Batcher.GetMany(t.ctx, ask)
			first := c.BatchReader.ReadMany(t.ctx, ask, bytesOf('1'))
			again := c.BatchReader.ReadMany(t.ctx, ask, bytesOf('2'))
			t.sameResults(first, want)
			for _, r := range first {
				clear(r.Entry.Value)
			}
			t.sameResults(again, want)
			t.holds(b, ask[7], payload("7", 350))
		}},
	}
}

// bytesOf returns memory that holds something.
func bytesOf(content byte) func(size int) []byte {
	return func(size int) []byte { return bytes.Repeat([]byte{content}, size) }
}

func (t *probe) sameResults(got, want []backends.GetResult) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(g, w backends.GetResult) bool {
		return bytes.Equal(g.Entry.Value, w.Entry.Value) && fmt.Sprint(g.Err) == fmt.Sprint(w.Err)
	}) {
		t.Errorf("ReadMany and GetMany differ")
	}
}
