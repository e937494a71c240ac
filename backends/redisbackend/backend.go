package redisbackend

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/doubt"
)

// maxStringBytes is the largest string of Redis (proto-max-bulk-len's default).
const maxStringBytes = 512 << 20

// Options adjusts a Backend; nil or zero values are the defaults.
type Options struct {
	// Timeout bounds each call besides its context: waiting for a connection,
	// connecting, sending, and receiving. Default for Open: the URL's
	// read_timeout, or 5 s; the default for New is the smaller of the client's
	// ReadTimeout and WriteTimeout, which it may not exceed.
	Timeout time.Duration

	// MaxValueBytes is the largest value that a call stores or reads, up to 512
	// MiB. A larger one is an error of kind TooLarge, on a read by its length,
	// before memory is allocated for it. Default 64 MiB.
	MaxValueBytes int
}

// Backend stores entries in Redis. It is safe for concurrent use.
type Backend struct {
	client   redis.UniversalClient
	cluster  bool
	sharded  bool // several nodes hold the keys: a Cluster or a Ring
	owned    bool
	timeout  time.Duration
	limit    int
	watch    *watch
	reads    gather
	doubts   *doubt.Keys
	closed   atomic.Bool
	detached atomic.Bool  // some connections are not watched
	reloaded atomic.Int64 // when a failure last made a Cluster client reload its map, by mono
	nodes    *adoption    // nil unless a Cluster client was passed in
	directs  *directs     // nil unless Open made the client, and for Sentinel

	tracking sync.Mutex
	tracker  *tracker                         // nil unless something is watched
	routes   atomic.Pointer[map[string]*link] // of the tracker, by address; nil without one
}

var (
	_ backends.Backend      = (*Backend)(nil)
	_ backends.Batcher      = (*Backend)(nil)
	_ backends.BatchReader  = (*Backend)(nil)
	_ backends.EntryReader  = (*Backend)(nil)
	_ backends.TTLer        = (*Backend)(nil)
	_ backends.Locker       = (*Backend)(nil)
	_ backends.BatchLocker  = (*Backend)(nil)
	_ backends.Scanner      = (*Backend)(nil)
	_ backends.Swapper      = (*Backend)(nil)
	_ backends.Replacer     = (*Backend)(nil)
	_ backends.BatchSwapper = (*Backend)(nil)
	_ backends.Rewriter     = (*Backend)(nil)
	_ backends.Watcher      = (*Backend)(nil)
)

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) (value []byte, err error) {
	if err := backends.CheckKey(key); err != nil {
		return nil, err
	}
	together := b.reads.enter()
	defer func() { b.reads.leave(len(value)) }()
	if together {
		if e, done, err := b.together(ctx, "get", key, false); done {
			return e.Value, err
		}
	}
	if v, done, err := b.getDirectly(ctx, key); done {
		return v, b.fail(ctx, "get", err)
	}
	return do(ctx, b, "get", func(ctx context.Context) ([]byte, error) { return b.getPooled(ctx, key) })
}

// getPooled reads one value by go-redis, with the bound on its size. The raw
// command follows no redirection of a Cluster; go-redis does, for the moment that a
// slot moves.
func (b *Backend) getPooled(ctx context.Context, key string) ([]byte, error) {
	r := newReply(b.limit, -1)
	if err := b.process(ctx, redis.NewRawWriteToCmd(ctx, r, "get", key)); err != nil {
		return nil, err
	}
	v, err := r.result()
	if b.cluster && redirected(err) {
		return b.client.Get(ctx, key).Bytes()
	}
	return v, err
}

// Set implements [backends.Backend].
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := b.checkItem("set", key, value, ttl); err != nil {
		return err
	}
	if _, done, err := b.linked(ctx, "set", key, value, ttl); done {
		return err
	}
	if done, err := b.setDirectly(ctx, key, value, ttl); done {
		return err
	}
	value = b.hold(ctx, value)
	_, err := write(ctx, b, "set", []string{key}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.process(ctx, setCommand(ctx, key, value, ttl))
	})
	return err
}

func setCommand(ctx context.Context, key string, value []byte, ttl time.Duration) *redis.StatusCmd {
	if ttl == backends.NoExpiry {
		return redis.NewStatusCmd(ctx, "set", key, value)
	}
	return redis.NewStatusCmd(ctx, "set", key, value, "px", milliseconds(ttl))
}

// hold returns value, or a copy of it if a call can outlive its caller.
func (b *Backend) hold(ctx context.Context, value []byte) []byte {
	if (b.detached.Load() || b.nodes.pending()) && ctx.Done() != nil {
		return append([]byte(nil), value...)
	}
	return value
}

func (b *Backend) checkItem(op, key string, value []byte, ttl time.Duration) error {
	if err := backends.CheckKey(key); err != nil {
		return err
	}
	if ttl <= 0 {
		return backends.ErrTTL
	}
	if len(value) > b.limit {
		return &backends.Error{Op: op, Backend: backendType, Kind: backends.TooLarge, Err: errValueTooLarge}
	}
	return nil
}

// milliseconds rounds up: an entry never expires early, and never at once.
func milliseconds(ttl time.Duration) int64 {
	ms := int64(ttl / time.Millisecond)
	if ttl%time.Millisecond != 0 {
		ms++
	}
	return ms
}

// Delete implements [backends.Backend]. The memory is freed in the background
// (UNLINK).
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	if n, done, err := b.linked(ctx, "delete", key, nil, 0); done {
		return n > 0, err
	}
	return b.change(ctx, "delete", key, "unlink", key)
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	return do(ctx, b, "exists", func(ctx context.Context) (bool, error) {
		n, err := b.integer(ctx, key, "exists", key)
		return n > 0, err
	})
}

// change runs a command that alters key, which has been checked, and answers how
// many it altered.
func (b *Backend) change(ctx context.Context, op, key string, args ...any) (bool, error) {
	return write(ctx, b, op, []string{key}, func(ctx context.Context) (bool, error) {
		n, err := b.integer(ctx, key, args...)
		return n > 0, err
	})
}

// integer runs a command on key that answers with a number.
func (b *Backend) integer(ctx context.Context, key string, args ...any) (int64, error) {
	if n, done, err := b.numberDirectly(ctx, key, args); done {
		return n, err
	}
	cmd := redis.NewIntCmd(ctx, args...)
	err := b.process(ctx, cmd)
	return cmd.Val(), err
}

// pipeline sends cmds in one round trip for each node that they concern, and
// leaves in each command what became of it. The error is the first of them.
func (b *Backend) pipeline(ctx context.Context, cmds []redis.Cmder) error {
	p := b.client.Pipeline()
	for _, cmd := range cmds {
		if err := p.Process(ctx, b.once(cmd)); err != nil {
			return err
		}
	}
	_, err := p.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil }) {
		return err
	}
	// go-redis tells no command that there was no connection to send it on.
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
	return err
}

// Health implements [backends.Backend] with PING and INFO in one round trip. A
// user who may not run INFO gets no details. Details: version, mode, role
// facts of one node; on a Cluster, of any.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	info, err := do(ctx, b, "health", func(ctx context.Context) (string, error) {
		ping, info := redis.NewStatusCmd(ctx, "ping"), redis.NewStringCmd(ctx, "info", "server")
		_ = b.pipeline(ctx, []redis.Cmder{ping, info})
		return info.Val(), ping.Err()
	})
	h := backends.Health{OK: err == nil, Err: err, Latency: time.Since(start), BackendType: backendType}
	if err == nil {
		h.Details = details(info)
		stats := b.client.PoolStats()
		h.Details["connections"] = strconv.Itoa(int(stats.TotalConns) + b.directs.count())
		if state := b.trackingState(); state != "" {
			h.Details["tracking"] = state
		}
	}
	return h
}

// Close implements [backends.Backend]. It ends all watches and closes what Open
// made: calls under way end with ErrClosed. A client that was given to New stays
// open, and calls on it end by themselves.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.endTracking()
	b.directs.all((*direct).close)
	if !b.owned {
		return nil
	}
	return b.client.Close()
}
