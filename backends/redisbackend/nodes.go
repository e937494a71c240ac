package redisbackend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
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
