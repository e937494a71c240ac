package secure_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/secure"
)

// miscounting is a backend whose batches have one result too many, or too few.
type miscounting struct {
	*memorybackend.Backend
	by int
}

func miscounted[R any](by int, results []R) []R {
	if by < 0 {
		return results[:len(results)+by]
	}
	return append(results, make([]R, by)...)
}

func (m miscounting) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	return miscounted(m.by, m.Backend.GetMany(ctx, keys))
}

func (m miscounting) ReadMany(ctx context.Context, keys []string, room func(int) []byte) []backends.GetResult {
	return miscounted(m.by, m.Backend.ReadMany(ctx, keys, room))
}

func (m miscounting) SetMany(ctx context.Context, items []backends.Item) []error {
	return miscounted(m.by, m.Backend.SetMany(ctx, items))
}

func (m miscounting) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	return miscounted(m.by, m.Backend.DeleteMany(ctx, keys))
}

func (m miscounting) LockMany(ctx context.Context, keys []string, lease time.Duration) []backends.LockResult {
	return miscounted(m.by, m.Backend.LockMany(ctx, keys, lease))
}

// Rule: of a batch with another number of results than keys, every key has
// failed: no value is given to another key, no write passes for stored, and a
// loader runs without the locks.
func TestBatchesWithAnotherNumberOfResults(t *testing.T) {
	values := map[string]int{"a": 1, "b": 2, "c": 3}
	keys := []string{"a", "b", "c"}
	for _, by := range []int{-1, 1} {
		for what, change := range map[string]func(*secure.Options){
			"plain":     func(o *secure.Options) { o.Reliability, o.FillLock = secure.Off, secure.On },
			"resilient": func(o *secure.Options) { o.Reliability, o.FillLock = secure.On, secure.On },
			"no copies": func(o *secure.Options) { o.Reliability, o.NoL1 = secure.Off, true },
		} {
			options := &secure.Options{Namespace: "n", Backend: miscounting{memorybackend.New(nil), by}, MasterKey: key(t, "1"), Logger: new(logs).logger()}
			change(options)
			c, err := secure.New(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			v := secure.For[int](c)
			failed := func(op string, err error) {
				t.Helper()
				var batch *secure.BatchError
				var e *backends.Error
				if !errors.As(err, &batch) || len(batch.Errors()) != 3 || !errors.As(batch.Errors()["b"], &e) || e.Kind != backends.Permanent {
					t.Errorf("%s, %+d results: %s = %v", what, by, op, err)
				}
			}
			failed("SetMany", v.SetMany(t.Context(), values))
			got, err := v.GetMany(t.Context(), keys)
			failed("GetMany", err)
			if len(got) != 0 {
				t.Errorf("%s, %+d results: GetMany = %v", what, by, got)
			}
			_, err = v.DeleteMany(t.Context(), keys)
			failed("DeleteMany", err)
			loaded, err := v.GetOrLoadMany(t.Context(), keys, func(context.Context, []string) (map[string]int, error) { return maps.Clone(values), nil })
			if err != nil || !maps.Equal(loaded, values) {
				t.Errorf("%s, %+d results: GetOrLoadMany = %v, %v", what, by, loaded, err)
			}
		}
	}
}
