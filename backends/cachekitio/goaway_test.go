package cachekitio_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

// work makes calls of 16 callers, each on keys that it uses once, and reports what
// the server was asked more than once among those that change something.
func work(t *testing.T, s *iotest.Server, b *cachekitio.Backend, rounds int) {
	t.Helper()
	callers(t, 16, func(g int) error {
		for i := range rounds {
			key := fmt.Sprintf("k-%d-%d", g, i)
			if err := b.Set(t.Context(), key, []byte(key), time.Hour); err != nil {
				return fmt.Errorf("set: %w", err)
			}
			token, err := b.Lock(t.Context(), key, time.Minute)
			if err != nil {
				return fmt.Errorf("lock: %w", err)
			}
			if v, err := b.Get(t.Context(), key); err != nil || string(v) != key {
				return fmt.Errorf("get: %d bytes, %w", len(v), err)
			}
			if _, err := b.Unlock(t.Context(), key, token); err != nil {
				return fmt.Errorf("unlock: %w", err)
			}
		}
		return nil
	})
	executed := map[string]int{}
	for _, r := range s.Requests() {
		if r.Method != "GET" {
			executed[r.Method+r.Endpoint+r.Key]++
		}
	}
	for what, n := range executed {
		if n != 1 {
			t.Errorf("%s was executed %d times, want 1", what, n)
		}
	}
	if want := 3 * 16 * rounds; len(executed) != want {
		t.Errorf("%d writes were executed, want %d", len(executed), want)
	}
}

// Rule: a server that sends every client away after a few requests, or after each,
// again and again, costs a connection each time and no call: none fails, no write is
// executed twice, and 16 callers share each new connection.
func TestGoAwayStorm(t *testing.T) {
	for every, rounds := range map[int64]int{1: 4, 10: 10, 50: 20} {
		t.Run(fmt.Sprintf("every %d requests", every), func(t *testing.T) {
			s := serve(t, nil)
			b := open(t, options(s, func(o *cachekitio.Options) { o.Timeout = 10 * time.Second }))
			var requests, sent atomic.Int64
			s.Inject(iotest.Fault{Kind: iotest.GoAwayAfter, Match: func(iotest.Request) bool {
				hit := requests.Add(1)%every == 0
				if hit {
					sent.Add(1)
				}
				return hit
			}})
			work(t, s, b, rounds)
			open, opened := s.Connections()
			if int64(opened) > sent.Load()+1 {
				t.Errorf("%d connections were opened after %d times GOAWAY", opened, sent.Load())
			}
			for deadline := time.Now().Add(20 * time.Second); open > 1 && time.Now().Before(deadline); open, _ = s.Connections() {
				time.Sleep(10 * time.Millisecond)
			}
			if open > 1 {
				t.Errorf("%d connections stay open, want 1", open)
			}
		})
	}
}

// Rule: a server that turns every request away unprocessed gets each again, after
// pauses that grow, until the call's time is over: no call is lost if it recovers, and
// connections are not made faster than the pauses let calls ask for them.
func TestGoAwayOfEverything(t *testing.T) {
	s := serve(t, nil)
	b := open(t, options(s, func(o *cachekitio.Options) { o.Timeout = 30 * time.Second }))
	var refused atomic.Int64
	s.Inject(iotest.Fault{Kind: iotest.GoAway, Match: func(iotest.Request) bool { refused.Add(1); return true }})
	time.AfterFunc(500*time.Millisecond, s.Heal)
	callers(t, 16, func(g int) error { return b.Set(t.Context(), fmt.Sprint("k", g), []byte("v"), time.Hour) })
	if _, opened := s.Connections(); opened > 16*4 {
		t.Errorf("%d connections were opened for 16 calls and %d refusals", opened, refused.Load())
	}
}
