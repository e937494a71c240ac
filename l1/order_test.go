package l1_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cachekit-io/cachekit-go/l1"
)

// model is a storage, and operations on it and the layer, cut into the steps
// between which others may run.
type model struct {
	layer   *l1.Cache[string]
	storage map[string]string
	random  *rand.Rand
	serial  int
}

func (m *model) operation(key string) []func() {
	var t l1.Ticket
	var read string
	var found bool
	m.serial++
	v := fmt.Sprint(m.serial)
	switch m.random.IntN(10) {
	case 0, 1, 2:
		return []func(){
			func() { t = m.layer.Begin(key) },
			func() { m.storage[key] = v },
			func() { m.layer.Commit(t, key, v, minute) },
		}
	case 3:
		return []func(){
			func() { t = m.layer.Begin(key) },
			func() { delete(m.storage, key) },
			func() { m.layer.Abort(t, key) },
		}
	case 4:
		return []func(){ // fails after it has landed
			func() { t = m.layer.Begin(key) },
			func() { m.storage[key] = v },
			func() { m.layer.Abort(t, key) },
		}
	case 5:
		if m.random.IntN(20) == 0 {
			return []func(){m.layer.Flush}
		}
		fallthrough
	case 6:
		return []func(){func() { m.layer.Invalidate(key) }}
	}
	return []func(){
		func() { t = m.layer.Watch(key) },
		func() { read, found = m.storage[key] },
		func() {
			if found {
				m.layer.Fill(t, key, read, minute)
			}
		},
	}
}

// The test of USERS.md, feature 9, on the layer alone: after every step of any
// interleaving, a copy is what the storage holds, so the last write wins.
func TestCopiesAreWhatTheStorageHolds(t *testing.T) {
	const rounds = 100_000
	names := []string{"a", "b"}
	m := &model{layer: newCache(1 << 20), storage: map[string]string{}, random: rand.New(rand.NewPCG(1, 2))}
	copies := 0
	for round := range rounds {
		key := names[m.random.IntN(len(names))]
		var running [][]func()
		for range 2 + m.random.IntN(3) {
			running = append(running, m.operation(key))
		}
		for len(running) > 0 {
			i := m.random.IntN(len(running))
			running[i][0]()
			if running[i] = running[i][1:]; len(running[i]) == 0 {
				running[i] = running[len(running)-1]
				running = running[:len(running)-1]
			}
			if v, _ := m.layer.Get(key); v != nil {
				copies++
				if *v != m.storage[key] {
					t.Fatalf("round %d: the copy is %q, the storage holds %q", round, *v, m.storage[key])
				}
			}
		}
	}
	if copies < rounds/2 {
		t.Errorf("only %d copies were seen in %d rounds: the layer keeps nothing", copies, rounds)
	}
}

// The same with goroutines, for the locks: once all is quiet, copies and
// storage agree.
func TestConcurrentCopies(t *testing.T) {
	const keys, goroutines, rounds, steps = 2, 8, 1000, 4
	c := newCache(1 << 20)
	var storage [keys]atomic.Pointer[string]
	var copies int
	for round := range rounds {
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), uint64(round)))
				for i := range steps {
					k := r.IntN(keys)
					key, v := fmt.Sprint(k), fmt.Sprint(round, "/", g, "/", i)
					switch r.IntN(12) {
					case 0, 1, 2:
						t := c.Begin(key)
						storage[k].Store(&v)
						c.Commit(t, key, v, minute)
					case 3:
						t := c.Begin(key)
						storage[k].Store(nil)
						c.Abort(t, key)
					case 4:
						if i == 0 {
							c.Flush()
						}
					default:
						t := c.Watch(key)
						v := storage[k].Load()
						runtime.Gosched()
						if v != nil {
							c.Fill(t, key, *v, minute)
						}
					}
				}
			})
		}
		wg.Wait()
		for k := range keys {
			copied, _ := c.Get(fmt.Sprint(k))
			if copied == nil {
				continue
			}
			copies++
			if stored := storage[k].Load(); stored == nil || *stored != *copied {
				t.Fatalf("round %d: the copy is %q, the storage does not hold that", round, *copied)
			}
		}
	}
	if copies == 0 {
		t.Error("the layer keeps nothing")
	}
}
