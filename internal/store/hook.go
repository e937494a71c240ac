package store

import (
	"context"
	"errors"
)

// Hook is told that the backend is called for key, or for several keys ("" then).
// It returns the context of the call and what is told of its end, or nil.
type Hook func(ctx context.Context, op, key string, keys int) (context.Context, func(found int, err error))

// Observe has h told of every call from now on, but for Health, Scan and swaps. It is
// called before the store is used.
func (s *Store) Observe(h Hook) { s.hook = h }

// errPanicked stands for the outcome of a backend that panicked.
var errPanicked = errors.New("store: the backend panicked")

// span is a call that somebody listens to, or nothing.
type span struct{ told func(found int, err error) }

func (s *Store) begin(ctx context.Context, op, key string, keys int) (context.Context, span) {
	if s.hook == nil {
		return ctx, span{}
	}
	ctx, told := s.hook(ctx, op, key, keys)
	return ctx, span{told}
}

// one ends a call for one key.
func (s span) one(found bool, err error) {
	if s.told == nil {
		return
	}
	n := 0
	if found {
		n = 1
	}
	s.told(n, err)
}

// many ends a call for n keys, of which each says what became of it.
func (s span) many(n int, each func(i int) (found bool, err error)) {
	if s.told == nil {
		return
	}
	found, failure := 0, error(nil)
	for i := range n {
		ok, err := each(i)
		if ok {
			found++
		}
		if err != nil {
			failure = err
		}
	}
	s.told(found, failure)
}
