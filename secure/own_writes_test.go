package secure_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/secure"
)

// Who asks after an explicit write does not share a load that read the source
// before it.
func TestLoadsAfterAWriteSeeIt(t *testing.T) {
	writes := map[string]func(c *secure.Cache, ctx context.Context) error{
		"set": func(c *secure.Cache, ctx context.Context) error { return c.Set(ctx, "k", "new") },
		"set many": func(c *secure.Cache, ctx context.Context) error {
			return secure.For[string](c).SetMany(ctx, map[string]string{"k": "new"})
		},
		"delete": func(c *secure.Cache, ctx context.Context) error { _, err := c.Delete(ctx, "k"); return err },
		"delete many": func(c *secure.Cache, ctx context.Context) error {
			_, err := c.DeleteMany(ctx, []string{"k"})
			return err
		},
	}
	for name, write := range writes {
		for _, noL1 := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := open(t, newFake(), func(o *secure.Options) { o.NoL1 = noL1 })
				defer c.Close()
				v := secure.For[string](c)
				var source atomic.Value
				source.Store("old")
				load := func(context.Context) (string, error) {
					read := source.Load().(string)
					time.Sleep(time.Second)
					return read, nil
				}
				go v.GetOrLoad(t.Context(), "k", load)
				time.Sleep(time.Second / 2)
				source.Store("new")
				if err := write(c, t.Context()); err != nil {
					t.Fatal(err)
				}
				if got, err := v.GetOrLoad(t.Context(), "k", load); got != "new" || err != nil {
					t.Errorf("after %s, without L1 %v: got %q, %v", name, noL1, got, err)
				}
			})
		}
	}
}
