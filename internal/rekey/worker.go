package rekey

import (
	"context"
	"errors"
)

// errStopped says that a page was left in the middle.
var errStopped = errors.New("rekey: stopped")

// worker looks at one page at a time and reuses its buffers.
type worker struct {
	w       *walk
	doc     []byte
	largest int  // entry seen lately, in bytes
	fit     int  // keys of the chunk before
	old     bool // it had entries to replace
}

func newWorker(w *walk) *worker { return &worker{w: w, fit: 16} }

// entry is one entry of a chunk.
type entry struct {
	key    string
	tenant *tenant
}

// page looks at every key of p, in chunks. A chunk in hand is finished when ctx
// ends. The error is errStopped then, or one after which the walk cannot go on.
func (k *worker) page(ctx context.Context, p *page) error {
	entries := make([]entry, 0, len(p.keys))
	for _, key := range p.keys {
		name, ok := k.w.cfg.Tenant(key)
		if !ok {
			p.report.Skipped++
			continue
		}
		t, err := k.w.tenant(name)
		if err != nil {
			return err
		}
		entries = append(entries, entry{key, t})
	}
	for len(entries) > 0 {
		n := min(k.size(), len(entries))
		if k.w.limit.WaitN(ctx, n) != nil || ctx.Err() != nil {
			return errStopped
		}
		if err := k.look(context.WithoutCancel(ctx), entries[:n], p); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// size is how many entries are read at once: at most twice as many as before,
// so that a run of small entries does not end in a flood of large ones, and no
// more than fit if each is as large as the largest.
func (k *worker) size() int {
	n := min(2*k.fit, k.w.cfg.Page)
	if k.largest > 0 {
		n = min(n, max(k.w.cfg.ChunkBytes/k.largest, 1))
	}
	if burst := k.w.limit.Burst(); burst > 0 {
		n = min(n, burst)
	}
	k.fit, k.largest = n, k.largest-k.largest/8
	return n
}

// look reads entries, counts them, and replaces those under an old key. An entry
// that somebody else has written meanwhile is looked at again.
func (k *worker) look(ctx context.Context, entries []entry, p *page) error {
	c := &chunk{worker: k, report: &p.report}
	for c.first = true; len(entries) > 0; c.first = false {
		c.tries++
		if c.first && k.old && c.rewrites() {
			c.rewrite(ctx, entries)
		} else {
			c.read(ctx, entries)
			k.old = len(c.old) > 0
		}
		if len(c.old) == 0 {
			break
		}
		entries = c.replace(ctx)
	}
	return c.outage
}
