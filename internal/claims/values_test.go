package claims_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// told is a value that says what it is.
type told struct {
	Tenant, Key string
	Padding     string
}

// Rule: whatever the network does, and whenever callers give up, nobody is given
// the value of another key or tenant. The two tenants share a namespace, so they
// overwrite each other and see ErrAuth, and never each other's values.
func TestNobodyIsGivenTheValueOfAnother(t *testing.T) {
	total := 20_000
	if os.Getenv("CACHEKIT_SOAK") != "" {
		total = 1_000_000
	}
	server := testenv.Redis(t, nil)
	wire := testenv.Proxy(t, server.Addr())
	b, err := redisbackend.Open(t.Context(), server.URLAt(wire.Addr()), &redisbackend.Options{Timeout: 500 * time.Millisecond})
	check(t, err)
	defer b.Close()
	views := map[string]secure.View[told]{}
	for _, tenant := range []string{"acme", "umbrella"} {
		o := secure.Options{Backend: b, MasterKey: masterKey(t), Namespace: "shared", Tenant: tenant, OnTamper: secure.Recompute, L1BackfillTTL: time.Second}
		c, err := secure.NewProduction(t.Context(), &o)
		check(t, err)
		defer c.Close()
		views[tenant] = secure.For[told](c)
	}
	stop := breakNow(wire)
	var left, answered atomic.Int64
	left.Store(int64(total))
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				for tenant, v := range views {
					if one(t, v, tenant) {
						answered.Add(1)
					}
				}
			}
		})
	}
	callers.Wait()
	stop()
	if n := answered.Load(); n < int64(total)/10 {
		t.Errorf("%d of %d calls were answered: the faults hide what is tested", n, 2*total)
	}
}

// one makes a call and reports whether it brought a value.
func one(t *testing.T, v secure.View[told], tenant string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(20_000))*time.Microsecond)
	defer cancel()
	key := fmt.Sprintf("k%d", rand.IntN(50))
	want := told{tenant, key, strings.Repeat(key, rand.IntN(400))}
	var got told
	var err error
	found := true
	switch rand.IntN(6) {
	case 0:
		_ = v.Set(ctx, key, want)
		return false
	case 1:
		got, found, err = v.Get(ctx, key)
	case 2:
		_, _ = v.Delete(ctx, key)
		return false
	case 3:
		many, err := v.GetMany(ctx, []string{key, "k0", "k1"})
		for k, got := range many {
			judge(t, got, tenant, k)
		}
		judgeError(t, err)
		return false
	default:
		got, err = v.GetOrLoad(ctx, key, func(context.Context) (told, error) { return want, nil })
	}
	if err != nil || !found {
		judgeError(t, err)
		return false
	}
	judge(t, got, tenant, key)
	return true
}

func judgeError(t *testing.T, err error) {
	if errors.Is(err, secure.ErrMalformed) || errors.Is(err, secure.ErrType) {
		t.Errorf("an authentic entry is malformed: %v", err)
	}
}

func judge(t *testing.T, got told, tenant, key string) {
	if got.Tenant != tenant || got.Key != key || strings.Trim(got.Padding, key) != "" {
		t.Errorf("%s asked for %s and was given %s of %s", tenant, key, got.Key, got.Tenant)
	}
}

// breakNow breaks the network every few milliseconds until stop is called.
func breakNow(wire *testenv.FaultProxy) (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		faults := []func(){wire.Cut, wire.Stall, wire.StallReplies, wire.Resume, wire.Resume, wire.Resume}
		for {
			select {
			case <-done:
				wire.Resume()
				return
			case <-time.After(time.Duration(rand.IntN(15)) * time.Millisecond):
				faults[rand.IntN(len(faults))]()
			}
		}
	}()
	return func() { close(done); <-over }
}
