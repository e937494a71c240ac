package rekey

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"golang.org/x/time/rate"
)

// Walk walks the entries that cfg names. When ctx ends, it finishes the entries
// in hand and returns the report with the cursor at which to go on; the error is
// nil then. An error of the storage ends the walk too; the report says how far
// it came. The cursor of a list of keys is how many of them are done.
func Walk(ctx context.Context, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	switch {
	case cfg.Reseal && !cfg.Store.CanSwap():
		return Report{Cursor: cfg.Cursor}, ErrCannotSwap
	case cfg.Keys == nil && !cfg.Store.CanScan():
		return Report{Cursor: cfg.Cursor}, ErrCannotScan
	}
	w := &walk{cfg: cfg, limit: limiter(cfg.Rate), tenants: map[string]*tenant{}}
	w.total.Cursor = cfg.Cursor
	w.run(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total.clone(), w.err
}

// walk is one call of Walk.
type walk struct {
	cfg   Config
	limit *rate.Limiter

	mu      sync.Mutex
	tenants map[string]*tenant
	total   Report
	pending []*page // in order of their cursors; the first is the oldest
	err     error
}

// page is a piece of the walk, and what became of it.
type page struct {
	keys   []string
	next   string
	last   bool
	report Report
	done   bool
}

func limiter(perSecond int) *rate.Limiter {
	if perSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(perSecond/10, 1))
}

// run hands pages to workers until there are none, ctx ends or a page fails.
func (w *walk) run(ctx context.Context) {
	pages := make(chan *page)
	stop := make(chan struct{})
	var once sync.Once
	var workers sync.WaitGroup
	for range w.cfg.Parallel {
		workers.Go(func() {
			work := newWorker(w)
			for p := range pages {
				if !w.finish(p, work.page(ctx, p)) {
					once.Do(func() { close(stop) })
				}
			}
		})
	}
	err := w.produce(ctx, func(p *page) bool {
		select {
		case <-stop:
			return false
		case <-ctx.Done():
			return false
		default:
		}
		w.mu.Lock()
		w.pending = append(w.pending, p)
		w.mu.Unlock()
		select {
		case pages <- p:
			return true
		case <-stop:
		case <-ctx.Done():
		}
		return false
	})
	close(pages)
	workers.Wait()
	if err != nil && ctx.Err() == nil {
		w.fail(err)
	}
}

func (w *walk) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// produce calls yield for each page in order.
func (w *walk) produce(ctx context.Context, yield func(*page) bool) error {
	if w.cfg.Keys != nil {
		return w.list(yield)
	}
	cursor := w.cfg.Cursor
	for {
		keys, next, err := w.cfg.Store.Scan(ctx, w.cfg.Prefix, cursor, w.cfg.Page)
		if err != nil {
			return err
		}
		if !yield(&page{keys: keys, next: next, last: next == ""}) || next == "" {
			return nil
		}
		cursor = next
	}
}

// ErrCursor refuses a cursor that is not the number of keys of a list.
var ErrCursor = errors.New("rekey: the cursor of a list of keys is how many of them are done")

// list makes pages of a list of keys.
func (w *walk) list(yield func(*page) bool) error {
	skip := 0
	if w.cfg.Cursor != "" {
		n, err := strconv.Atoi(w.cfg.Cursor)
		if err != nil || n < 0 {
			return ErrCursor
		}
		skip = n
	}
	var keys []string
	seen, more := 0, true
	flush := func(last bool) bool {
		p := &page{keys: keys, next: strconv.Itoa(seen), last: last}
		keys = nil
		return yield(p)
	}
	err := w.cfg.Keys(func(key string) bool {
		if seen++; seen > skip {
			keys = append(keys, key)
		}
		if len(keys) >= w.cfg.Page {
			more = flush(false)
		}
		return more
	})
	if err == nil && more {
		flush(true)
	}
	return err
}

// finish adds the report of a page and moves the cursor over all pages that are
// done from the oldest on. It returns false if the walk is to end.
func (w *walk) finish(p *page, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total.add(p.report)
	if err != nil {
		if w.err == nil && !errors.Is(err, errStopped) {
			w.err = err
		}
		return false
	}
	p.done, p.keys = true, nil
	for len(w.pending) > 0 && w.pending[0].done {
		if w.total.Cursor, w.total.Done = w.pending[0].next, w.pending[0].last; w.total.Done {
			w.total.Cursor = ""
		}
		w.pending = w.pending[1:]
	}
	if w.cfg.Progress != nil {
		w.cfg.Progress(w.total.clone())
	}
	return true
}

// tenant returns the tenant of that name, which is set up once.
func (w *walk) tenant(name string) (*tenant, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tenants[name]; t != nil {
		return t, nil
	}
	t, err := w.cfg.tenant(name)
	if err != nil {
		return nil, err
	}
	w.tenants[name] = t
	for place, f := range t.prints { // a key with no entry is a finding too
		w.total.count(KeyCount{Tenant: name, Fingerprint: f, Place: place}, 0)
	}
	return t, nil
}

// failed reports one entry.
func (w *walk) failed(key string, err error) {
	if w.cfg.Failed == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cfg.Failed(key, err)
}
