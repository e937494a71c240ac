package l1

import (
	"sync/atomic"

	"github.com/maypok86/otter/v2/stats"
)

// recorder is told by otter what it counts; hits are counted in striped, because
// otter's own counter takes longer than its lookup.
type recorder struct {
	stats.NoopRecorder
	misses, evictions atomic.Uint64
}

func (r *recorder) RecordMisses(n int)           { r.misses.Add(uint64(n)) }
func (r *recorder) RecordEviction(weight uint32) { r.evictions.Add(1) }

// striped is a counter that goroutines on several processors can advance at once.
type striped [16]struct {
	n atomic.Uint64
	_ [56]byte // the rest of a cache line
}

// add counts one more, in a stripe that hint chooses.
func (s *striped) add(hint int64) { s[uint64(hint)%uint64(len(s))].n.Add(1) }

func (s *striped) sum() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}
