package redisbackend

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
)

// defaultScan is how many buckets of a node's table one page visits.
const defaultScan = 500

// errCursor refuses a cursor that no Scan of this storage returned, or that
// names a node which has left.
var errCursor = errors.New("unknown cursor: start again with an empty one")

// scanArgs escape what MATCH would take for a pattern (Redis, KEYS: glob-style).
var scanArgs = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// Scan implements [backends.Scanner] with SCAN, on a Cluster one master after
// the other. The cursor is "<position>@<node>"; the node is empty on a single
// server. A cursor of a single server is void after a failover: the order of
// the new master's table is another one. Keys in slots that move during the
// walk can be missed.
func (b *Backend) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	if limit <= 0 {
		limit = defaultScan
	}
	type page struct {
		keys []string
		next string
	}
	p, err := do(ctx, b, "scan", func(ctx context.Context) (page, error) {
		nodes, err := b.servers(ctx)
		if err != nil {
			return page{}, err
		}
		i, position, err := locate(nodes, cursor)
		if err != nil {
			return page{}, &backends.Error{Op: "scan", Backend: backendType, Kind: backends.Permanent, Err: err}
		}
		keys, position, err := nodes[i].client.ScanType(ctx, position, scanArgs.Replace(prefix)+"*", int64(limit), "string").Result()
		if err != nil {
			return page{}, err
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return backends.CheckKey(key) != nil })
		return page{keys, following(nodes, i, position)}, nil
	})
	return p.keys, p.next, err
}

// locate returns the node that a cursor names and the position on it.
func locate(nodes []node, cursor string) (int, uint64, error) {
	if len(nodes) == 0 {
		return 0, 0, errCursor
	}
	if cursor == "" {
		return 0, 0, nil
	}
	digits, addr, ok := strings.Cut(cursor, "@")
	position, err := strconv.ParseUint(digits, 10, 64)
	i := slices.IndexFunc(nodes, func(n node) bool { return n.addr == addr })
	if !ok || err != nil || i < 0 {
		return 0, 0, errCursor
	}
	return i, position, nil
}

// following returns the cursor after position on node i: a SCAN that answers 0
// has seen its node.
func following(nodes []node, i int, position uint64) string {
	if position == 0 {
		i++
	}
	if i == len(nodes) {
		return ""
	}
	return strconv.FormatUint(position, 10) + "@" + nodes[i].addr
}
