package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: whatever calls are given up and when, an answer belongs to its key.
func TestAnswersBelongToTheirKeys(t *testing.T) {
	s := testenv.Redis(t, nil)
	for name, b := range map[string]*redisbackend.Backend{
		"Open": open(t, s.URL(), nil),
		"New":  newOver(t, redis.NewClient(usable(s.Addr()))),
	} {
		t.Run(name, func(t *testing.T) {
			keys, items := many(64)
			fill(t, b, items)
			var calls sync.WaitGroup
			for caller := range 32 {
				calls.Go(func() { disturb(t, b, keys, caller) })
			}
			calls.Wait()
			for _, key := range keys {
				want(t, b, key, key)
			}
		})
	}
}

// disturb makes calls of which many are given up at a random time.
func disturb(t *testing.T, b *redisbackend.Backend, keys []string, caller int) {
	random := rand.New(rand.NewPCG(1, uint64(caller)))
	for range 300 {
		key := keys[random.IntN(len(keys))]
		ctx, cancel := context.WithCancel(context.Background())
		if random.IntN(2) == 0 {
			time.AfterFunc(time.Duration(random.IntN(int(time.Millisecond))), cancel)
		}
		err := call(ctx, b, key, random.IntN(4))
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
			return
		}
	}
}

func call(ctx context.Context, b *redisbackend.Backend, key string, kind int) error {
	switch kind {
	case 0:
		return b.Set(ctx, key, []byte(key), time.Minute)
	case 1:
		e, err := b.GetEntry(ctx, key)
		return same(string(e.Value), key, err)
	case 2:
		r := b.GetMany(ctx, []string{key})
		return same(string(r[0].Entry.Value), key, r[0].Err)
	default:
		v, err := b.Get(ctx, key)
		return same(string(v), key, err)
	}
}

func same(got, want string, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("read %q under %q", got, want)
	}
	return err
}
