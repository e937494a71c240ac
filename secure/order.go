package secure

import (
	"context"
	"hash/maphash"
	"sync"
)

// writeOrder keeps fills (writes of loaded values) from overwriting newer
// explicit writes of the same process. A fill is watched from before its read;
// it may write only if no explicit write began, ended or is under way since.
// An explicit write that begins while a fill is writing waits for it, so that
// it lands last.
type writeOrder struct {
	seed   maphash.Seed
	shards [64]orderShard
}

type orderShard struct {
	mu   sync.Mutex
	keys map[string]*keyOrder
}

// keyOrder exists while somebody writes or watches its key.
type keyOrder struct {
	refs    int
	writers int           // explicit writes under way
	gen     uint64        // bumped when an explicit write begins and ends
	fill    chan struct{} // open while a fill writes
}

func newWriteOrder() *writeOrder {
	o := &writeOrder{seed: maphash.MakeSeed()}
	for i := range o.shards {
		o.shards[i].keys = make(map[string]*keyOrder)
	}
	return o
}

func (o *writeOrder) shard(name string) *orderShard {
	return &o.shards[maphash.String(o.seed, name)%uint64(len(o.shards))]
}

// acquire and release are called with the shard locked.
func (s *orderShard) acquire(name string) *keyOrder {
	k := s.keys[name]
	if k == nil {
		k = new(keyOrder)
		s.keys[name] = k
	}
	k.refs++
	return k
}

func (s *orderShard) release(name string, k *keyOrder) {
	if k.refs--; k.refs == 0 {
		delete(s.keys, name)
	}
}

// write announces an explicit write of name and waits for a fill that is
// writing it. The caller calls end when the write is over. The error is the
// context's; nothing is to be written or ended then.
func (o *writeOrder) write(ctx context.Context, name string) error {
	s := o.shard(name)
	s.mu.Lock()
	k := s.acquire(name)
	k.writers++
	k.gen++
	fill := k.fill
	s.mu.Unlock()
	if fill == nil {
		return nil
	}
	select {
	case <-fill:
		return nil
	case <-ctx.Done():
		o.end(name)
		return ctx.Err()
	}
}

// end closes what write announced.
func (o *writeOrder) end(name string) {
	s := o.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[name]
	k.writers--
	k.gen++
	s.release(name, k)
}

// watch is one fill's view of its key.
type watch struct {
	order *writeOrder
	name  string
	key   *keyOrder
	gen   uint64
}

// watch starts watching name; the caller calls done.
func (o *writeOrder) watch(name string) *watch {
	s := o.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.acquire(name)
	return &watch{o, name, k, k.gen}
}

// begin reports whether the fill may write: no explicit write has come between
// and no other fill is writing. If so, the caller calls end after its write.
func (w *watch) begin() bool {
	s := w.order.shard(w.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.key.gen != w.gen || w.key.writers > 0 || w.key.fill != nil {
		return false
	}
	w.key.fill = make(chan struct{})
	return true
}

// end lets explicit writes go on.
func (w *watch) end() {
	s := w.order.shard(w.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(w.key.fill)
	w.key.fill = nil
}

// done ends the watch.
func (w *watch) done() {
	s := w.order.shard(w.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(w.name, w.key)
}
