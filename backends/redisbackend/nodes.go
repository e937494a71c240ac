package redisbackend

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/mono"
)

// node is one of the servers that hold keys.
type node struct {
	addr   string
	client redis.Cmdable
}

// servers returns the servers that hold keys, in the order of their addresses.
func (b *Backend) servers(ctx context.Context) ([]node, error) {
	var mu sync.Mutex
	var all []node
	collect := func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node{c.Options().Addr, c})
		return nil
	}
	var err error
	switch c := b.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, collect)
	case *redis.Ring:
		err = c.ForEachShard(ctx, collect)
	default:
		all = []node{{"", b.client}}
	}
	slices.SortFunc(all, func(x, y node) int { return cmp.Compare(x.addr, y.addr) })
	return all, err
}

// reloadEvery is how often failures may make a Cluster client ask for the map of
// slots again.
const reloadEvery = 500 * time.Millisecond

// fail is the function of that name, and has a Cluster client look for the new
// owner of the slots of a node that does not serve them: a dead master redirects
// nobody, and go-redis by itself looks once a minute.
func (b *Backend) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, net.ErrClosed) && b.closed.Load() {
		err = backends.ErrClosed
	}
	err = fail(ctx, op, err)
	if c, ok := b.client.(*redis.ClusterClient); ok && (backends.IsOutage(err) || errors.Is(err, context.DeadlineExceeded)) {
		if b.reloadIsDue() {
			c.ReloadState(ctx) // in the background
		}
	}
	return err
}

// reloadIsDue reports it once.
func (b *Backend) reloadIsDue() bool {
	now, last := mono.Now(), b.reloaded.Load()
	return now-last >= int64(reloadEvery) && b.reloaded.CompareAndSwap(last, now)
}

// redirected reports whether err is a Cluster's word that the key lies
// elsewhere.
func redirected(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	text := answer.Error()
	return strings.HasPrefix(text, "MOVED ") || strings.HasPrefix(text, "ASK ")
}
