package secure

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The log shows at most logBurst lines of one kind in logWindow, and then how
// many it left out.
const (
	logBurst  = 10
	logWindow = 10 * time.Second
)

// note logs an event, unless there are too many of its kind, and tells the
// observer. name, if not "", is the storage key that the event is about. ctx is
// the caller's, for what a slog.Handler takes from it: the ids of a trace, say.
func (c *core) note(ctx context.Context, level slog.Level, e Event, name, text string, attrs ...any) {
	told := c.observer != nil && c.observer.Event != nil
	logs := c.log.Enabled(ctx, level) && c.sampler.admit(c.log, e.Kind)
	if !told && !logs {
		return
	}
	if name != "" {
		e.Entry = c.label(name)
		attrs = append(attrs, "entry", e.Entry)
	}
	if told {
		c.observer.Event(e)
	}
	if logs {
		c.log.Log(ctx, level, "cachekit: "+text, attrs...)
	}
}

// sampler bounds what a cache logs. Its zero value is ready.
type sampler struct {
	mu    sync.Mutex
	kinds map[string]*window
}

// window counts the events of one kind since a moment.
type window struct {
	since      time.Time
	seen, left int
	report     *time.Timer // of what was left out
}

// admit says whether one more event of a kind is logged.
func (s *sampler) admit(log *slog.Logger, kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = make(map[string]*window)
	}
	w := s.kinds[kind]
	if w == nil {
		w = new(window)
		s.kinds[kind] = w
	}
	if now := time.Now(); w.report == nil && now.Sub(w.since) >= logWindow {
		w.since, w.seen = now, 0
	}
	if w.seen++; w.seen <= logBurst {
		return true
	}
	if w.left++; w.report == nil {
		w.report = time.AfterFunc(time.Until(w.since.Add(logWindow)), func() { s.close(log, kind) })
	}
	return false
}

// close ends the window of a kind and logs what it left out.
func (s *sampler) close(log *slog.Logger, kind string) {
	s.mu.Lock()
	w := s.kinds[kind]
	left := w.left
	if w.report != nil {
		w.report.Stop()
	}
	*w = window{}
	s.mu.Unlock()
	if left > 0 {
		log.Warn("cachekit: events left out of the log", "kind", kind, "suppressed", left)
	}
}

// closeAll ends all windows.
func (s *sampler) closeAll(log *slog.Logger) {
	s.mu.Lock()
	kinds := make([]string, 0, len(s.kinds))
	for kind := range s.kinds {
		kinds = append(kinds, kind)
	}
	s.mu.Unlock()
	for _, kind := range kinds {
		s.close(log, kind)
	}
}
