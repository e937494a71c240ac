package secure_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// BenchmarkManyLocks compares GetOrLoadMany of 100 keys that are missing on a Redis
// with and without Options.FillLock ("bare"), by turns, with a loader that takes no
// time; and GetOrLoad of one key.
func BenchmarkManyLocks(b *testing.B) {
	ctx := context.Background()
	server := testenv.Redis(b, nil)
	n := 0
	load := func(lock secure.Switch, batch int) func(int) error {
		c, err := secure.New(ctx, &secure.Options{Backend: openRedis(b, server.URL()), MasterKey: key(b, "1"), NoL1: true, FillLock: lock})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		v, value := secure.For[item](c), newItem(1, 1024)
		return func(int) error {
			keys := make([]string, batch)
			for i := range keys {
				n++
				keys[i] = fmt.Sprint("item:", n)
			}
			if batch == 1 {
				_, err := v.GetOrLoad(ctx, keys[0], func(context.Context) (item, error) { return value, nil })
				return err
			}
			got, err := v.GetOrLoadMany(ctx, keys, func(_ context.Context, missing []string) (map[string]item, error) {
				out := make(map[string]item, len(missing))
				for _, k := range missing {
					out[k] = value
				}
				return out, nil
			})
			if err == nil && len(got) != batch {
				err = fmt.Errorf("%d of %d values", len(got), batch)
			}
			return err
		}
	}
	for _, batch := range []int{1, 10, 100} {
		b.Run(fmt.Sprint("load", batch), func(b *testing.B) {
			beside.Case{Bare: load(secure.Off, batch), Ours: load(secure.On, batch)}.Run(b, 1)
		})
	}
}
