package secure_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachekit-io/cachekit-go/secure"
)

type traceKey struct{}

// tracing is a handler that takes the id of a trace from the context, as a bridge
// to OpenTelemetry does.
type tracing struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (h *tracing) Handle(ctx context.Context, r slog.Record) error {
	id, _ := ctx.Value(traceKey{}).(string)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, id+": "+r.Message)
	return nil
}

func (h *tracing) Enabled(context.Context, slog.Level) bool { return true }

func (h *tracing) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

// Each line that a call causes is logged with the context of that call, those of
// loads that run apart from it too.
func TestLogLinesHaveTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), new(tracing)
		c := open(t, f, func(o *secure.Options) { o.Logger = slog.New(h) })
		defer c.Close()
		v := secure.For[string](c)
		ctx := context.WithValue(t.Context(), traceKey{}, "trace 7")
		load := func(context.Context) (string, error) { return "v", nil }
		loadMany := func(context.Context, []string) (map[string]string, error) { return nil, nil }
		op, err := c.Op("users", "op")
		if err != nil {
			t.Fatal(err)
		}
		name, err := op.Key(1)
		if err != nil {
			t.Fatal(err)
		}
		forged := func() {
			f.plant("k", []byte("forged"))
			f.plant(name, []byte("forged"))
		}
		down := func() { f.setFault(outage) }
		const auth, without = "trace 7: cachekit: entry failed authentication", "trace 7: cachekit: load went on without the cache"
		var got string
		for call, c := range map[string]struct {
			before func()
			run    func() error
			want   []string
		}{
			"Get":              {forged, func() error { _, err := c.Get(ctx, "k", &got); return err }, []string{auth}},
			"View.Get":         {forged, func() error { _, _, err := v.Get(ctx, "k"); return err }, []string{auth}},
			"GetMany":          {forged, func() error { _, err := v.GetMany(ctx, []string{"k"}); return err }, []string{auth}},
			"Op.Get":           {forged, func() error { _, err := op.Get(ctx, &got, 1); return err }, []string{auth}},
			"GetOrLoad forged": {forged, func() error { _, err := v.GetOrLoad(ctx, "k", load); return err }, []string{auth}},
			"GetOrLoad":        {down, func() error { _, err := v.GetOrLoad(ctx, "k2", load); return err }, []string{without, without}},
			"GetOrLoadMany":    {down, func() error { _, err := v.GetOrLoadMany(ctx, []string{"k3"}, loadMany); return err }, []string{without}},
		} {
			c.before()
			_ = c.run()
			if lines := h.take(); !slices.Equal(lines, c.want) {
				t.Errorf("%s: %q, want %q", call, lines, c.want)
			}
			f.setFault(nil)
			time.Sleep(time.Minute) // the circuit closes, the log's window ends
			h.take()
		}
		if err := v.Set(ctx, "stale", "old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Second)
		h.take()
		v.GetOrLoad(ctx, "stale", func(context.Context) (string, error) { return "", errors.New("no") })
		synctest.Wait()
		if lines := h.take(); !slices.Equal(lines, []string{"trace 7: cachekit: background refresh failed"}) {
			t.Errorf("a refresh: %q", lines)
		}
	})
}
