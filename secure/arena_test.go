package secure_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

// lent is a storage that notes the memory which it is given for batches.
type lent struct {
	*memorybackend.Backend
	mu     sync.Mutex
	memory [][]byte
}

func (l *lent) ReadMany(ctx context.Context, keys []string, room func(int) []byte) []backends.GetResult {
	return l.Backend.ReadMany(ctx, keys, func(size int) []byte {
		b := room(size)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.memory = append(l.memory, b)
		return b
	})
}

// overMemory returns a cache on a handle on s, and that handle.
func overMemory(t testing.TB, s *memorybackend.Backend, noL1 bool) (secure.View[[]byte], *lent) {
	t.Helper()
	l := &lent{Backend: s.Peer()}
	c, err := secure.New(t.Context(), &secure.Options{Backend: l, MasterKey: key(t, "1"), NoL1: noL1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return secure.For[[]byte](c), l
}

// fillWith stores values whose sizes grow from batch to batch, over what is kept of
// memory at the end.
func fillWith(t testing.TB, v secure.View[[]byte], batches int) (keys [][]string, want map[string][]byte) {
	t.Helper()
	want = map[string][]byte{}
	for i := range batches {
		keys = append(keys, nil)
		for j := range 20 {
			k := fmt.Sprint(i, " ", j)
			keys[i], want[k] = append(keys[i], k), bytes.Repeat([]byte{byte(i), byte(j)}, 50<<i)
		}
	}
	if err := v.SetMany(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	return keys, want
}

// Rule: where nothing is copied in the process, the memory of the entries of one
// batch serves the next; where copies are made, each entry has memory of its own.
func TestBatchesUseMemoryAgain(t *testing.T) {
	s := memorybackend.New(nil)
	writer, _ := overMemory(t, s, true)
	keys, _ := fillWith(t, writer, 1)
	for _, noL1 := range []bool{true, false} {
		v, l := overMemory(t, s, noL1)
		for range 100 { // the collector may take it in between
			if _, err := v.GetMany(t.Context(), keys[0]); err != nil {
				t.Fatal(err)
			}
		}
		again, seen := false, map[*byte]bool{}
		for _, b := range l.memory {
			again = again || seen[&b[0]]
			seen[&b[0]] = true
		}
		if again != noL1 || !noL1 && len(l.memory) > 0 {
			t.Errorf("NoL1 is %v: memory was used again: %v, of %d pieces", noL1, again, len(l.memory))
		}
	}
}

// Rule: a value does not lie in memory that another batch uses, however many there
// are at once and however large they are.
func TestBatchesShareNoMemory(t *testing.T) {
	s := memorybackend.New(nil)
	v, _ := overMemory(t, s, true)
	keys, want := fillWith(t, v, 12)
	check := func(got map[string][]byte, n int, err error) {
		if err != nil || len(got) != n {
			t.Errorf("%d of %d values, %v", len(got), n, err)
		}
		for k, value := range got {
			if !bytes.Equal(value, want[k]) {
				t.Errorf("%s has another value", k)
			}
		}
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var all []map[string][]byte
			for i := range keys {
				got, err := v.GetMany(t.Context(), keys[(i+3*g)%len(keys)])
				check(got, 20, err)
				all = append(all, got)
			}
			for _, got := range all {
				check(got, 20, nil)
			}
		})
	}
	wg.Wait()
}

// Rule: a copy in the process is not overwritten by later batches, of whichever
// cache.
func TestCopiesOutliveLaterBatches(t *testing.T) {
	s := memorybackend.New(nil)
	other, _ := overMemory(t, s, true)
	keys, want := fillWith(t, other, 4)
	v, l := overMemory(t, s, false)
	for i := range keys {
		for _, reader := range []secure.View[[]byte]{v, other} {
			if _, err := reader.GetMany(t.Context(), keys[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Fail(backends.Transient)
	for _, batch := range keys {
		got, err := v.GetMany(t.Context(), batch)
		if err != nil || len(got) != len(batch) {
			t.Errorf("%d of %d copies, %v", len(got), len(batch), err)
		}
		for k, value := range got {
			if !bytes.Equal(value, want[k]) {
				t.Errorf("%s has another value", k)
			}
		}
	}
}
