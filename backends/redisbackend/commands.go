package redisbackend

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// directly sends what ask adds on a connection of p and has read take the answers.
// done is false if go-redis has to see to the call: then nothing has been executed,
// or was only read. Errors are as they came.
func directly[T any](ctx context.Context, b *Backend, p *direct, reads bool, ask func(*wire), read func(*wire) (T, error)) (v T, done bool, err error) {
	if p == nil || b.closed.Load() || ctx.Err() != nil {
		return v, false, nil
	}
	now := time.Now()
	x, err := p.take(ctx, now)
	if x == nil {
		return v, err != nil, err
	}
	if err = x.begin(ctx, now, b.timeout); err == nil {
		ask(x)
		err = x.send()
	}
	if err == nil {
		v, err = read(x)
	} else if !isTimeout(err) && ctx.Err() == nil {
		// A server answers what it does not want to read on, and hangs up.
		if w, answer := read(x); usable(answer) {
			v, err = w, answer
		}
	}
	again := reads && x.stale(err)
	p.put(x, err)
	if r, refused := err.(refusal); refused && r.code() == "READONLY" {
		p.empty() // the name may be another server's by now
	}
	return v, !again && !elsewhere(err), err
}

// getDirectly reads the value of key.
func (b *Backend) getDirectly(ctx context.Context, key string) (value []byte, done bool, err error) {
	return directly(ctx, b, b.directs.to(ctx, key), true,
		func(x *wire) { x.about("get", key) },
		func(x *wire) ([]byte, error) { return x.readBytes(b.limit) })
}

// entryDirectly reads the value of key and its TTL.
func (b *Backend) entryDirectly(ctx context.Context, key string) (e backends.Entry, done bool, err error) {
	return directly(ctx, b, b.directs.to(ctx, key), true,
		func(x *wire) { x.about("get", key); x.about("pttl", key) },
		func(x *wire) (backends.Entry, error) { return x.readEntry(b.limit) })
}

// setDirectly is a whole Set, with what write does.
func (b *Backend) setDirectly(ctx context.Context, key string, value []byte, ttl time.Duration) (done bool, err error) {
	p := b.directs.to(ctx, key)
	if p == nil {
		return false, nil
	}
	if err := b.settleOne(ctx, "set", key); err != nil {
		return true, err
	}
	_, done, err = directly(ctx, b, p, false, func(x *wire) { x.set(key, value, ttl) }, (*wire).readNumber)
	err = b.fail(ctx, "set", err)
	if done && unknownOutcome(err) {
		b.doubts.Add(key)
	}
	return done, err
}

// numberDirectly runs a command on key that answers with a number, or OK.
func (b *Backend) numberDirectly(ctx context.Context, key string, args []any) (n int64, done bool, err error) {
	reads := args[0] == "exists" || args[0] == "pttl"
	return directly(ctx, b, b.directs.to(ctx, key), reads, func(x *wire) { x.any(args) }, (*wire).readNumber)
}

// mgetDirectly reads the keys at those places.
func (b *Backend) mgetDirectly(ctx context.Context, keys []string, places []int, results []backends.GetResult, room func(int) []byte) (done bool, err error) {
	_, done, err = directly(ctx, b, b.directs.one(), true, func(x *wire) {
		x.command(1+len(places), "mget")
		for _, i := range places {
			x.string(keys[i])
			x.ended()
		}
	}, func(x *wire) (struct{}, error) {
		if err := x.readArray(len(places)); err != nil {
			return struct{}{}, err
		}
		for _, i := range places {
			v, err := x.readInto(b.limit, room)
			if err == redis.Nil {
				results[i].Err = backends.ErrNotFound
			} else if err != nil {
				return struct{}{}, broken(err)
			}
			results[i].Entry.Value = v
		}
		return struct{}{}, nil
	})
	return done, err
}

// broken is what a refusal is where none can be.
func broken(err error) error {
	if _, refused := err.(refusal); refused {
		return errReply
	}
	return err
}

// eachDirectly sends a command for each place in one go, and reports what each
// answered. It reports false if it has sent nothing.
func (b *Backend) eachDirectly(ctx context.Context, op string, places []int, send func(x *wire, i int), report func(i int, n int64, err error)) bool {
	told := 0
	_, done, err := directly(ctx, b, b.directs.one(), false, func(x *wire) {
		for _, i := range places {
			send(x, i)
			x.ended()
		}
	}, func(x *wire) (struct{}, error) {
		for _, i := range places {
			n, err := x.readNumber()
			if !usable(err) {
				return struct{}{}, err
			}
			told++
			report(i, n, b.fail(ctx, op, err))
		}
		return struct{}{}, nil
	})
	if done && err != nil {
		err = b.fail(ctx, op, err)
		for _, i := range places[told:] {
			report(i, 0, err)
		}
	}
	return done
}

// readDirectly makes the reads of a group in one round trip, as far as it comes. It
// reports false if go-redis shall make them.
func (b *Backend) readDirectly(group []*read) bool {
	_, done, _ := directly(context.Background(), b, b.directs.one(), true, func(x *wire) {
		for _, r := range group {
			x.about("get", r.key)
			if r.ttl {
				x.about("pttl", r.key)
			}
			x.ended()
		}
	}, func(x *wire) (struct{}, error) {
		for _, r := range group {
			if r.ttl {
				r.entry, r.err = x.readEntry(b.limit)
			} else {
				r.entry.Value, r.err = x.readBytes(b.limit)
			}
			if !usable(r.err) {
				return struct{}{}, r.err
			}
			r.read = true
		}
		return struct{}{}, nil
	})
	return done
}
