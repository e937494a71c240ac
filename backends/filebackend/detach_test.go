package filebackend_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// serving counts the goroutines that run calls or wait for one.
func serving() int {
	stacks := make([]byte, 1<<22)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "filebackend.(*Backend).serve(")
}

// Rule: calls leave some goroutines waiting for the next ones, not one each, and
// Close leaves none.
func TestWaitingGoroutines(t *testing.T) {
	before := serving()
	b := openOn(t, nil, privateDir(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := b.Set(ctx, "k", []byte("v"), time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	testenv.Poll(t, 5*time.Second, "most goroutines to end", func() bool { return serving()-before <= 16 })
	if serving() == before {
		t.Error("no goroutine waits for the next call")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Poll(t, 5*time.Second, "all goroutines to end", func() bool { return serving() <= before })
}
