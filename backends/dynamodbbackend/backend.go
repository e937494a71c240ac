package dynamodbbackend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Backend stores entries in a DynamoDB table. It is safe for concurrent use.
type Backend struct {
	client     API
	table      string
	attr       Attributes
	consistent bool
	timeout    time.Duration
	release    func() // closes idle connections of Open's client
	stamps     stamps
	stampName  map[string]string // what #s stands for, read by all calls
	closed     atomic.Bool
}

var (
	_ backends.Backend     = (*Backend)(nil)
	_ backends.Batcher     = (*Backend)(nil)
	_ backends.EntryReader = (*Backend)(nil)
	_ backends.TTLer       = (*Backend)(nil)
	_ backends.Locker      = (*Backend)(nil)
	_ backends.Scanner     = (*Backend)(nil)
	_ backends.Swapper     = (*Backend)(nil)
	_ backends.Replacer    = (*Backend)(nil)
	_ backends.KeyRuler    = (*Backend)(nil)
)

// KeyRules implements [backends.KeyRuler]: DynamoDB holds every key that the
// family allows.
func (b *Backend) KeyRules() backends.KeyRules { return backends.KeyRules{} }

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := b.read(ctx, "get", key)
	return e.Value, err
}

// GetEntry implements [backends.EntryReader].
func (b *Backend) GetEntry(ctx context.Context, key string) (backends.Entry, error) {
	return b.read(ctx, "get entry", key)
}

func (b *Backend) read(ctx context.Context, op, key string) (backends.Entry, error) {
	if err := backends.CheckKey(key); err != nil {
		return backends.Entry{}, err
	}
	return do(ctx, b, op, func(ctx context.Context) (backends.Entry, error) {
		it, err := b.getItem(ctx, key, false)
		if err != nil {
			return backends.Entry{}, err
		}
		return b.entry(it)
	})
}

// getItem reads an item, or of it only key and expiry; nil if there is none.
func (b *Backend) getItem(ctx context.Context, key string, brief bool) (attributes, error) {
	in := &dynamodb.GetItemInput{TableName: &b.table, Key: b.key(key), ConsistentRead: &b.consistent}
	if brief {
		in.ProjectionExpression = aws.String("#k, #x")
		in.ExpressionAttributeNames = map[string]string{"#k": b.attr.Key, "#x": b.attr.Expiry}
	}
	out, err := b.client.GetItem(ctx, in, forItem...)
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

func (b *Backend) key(key string) attributes { return attributes{b.attr.Key: text(key)} }

// Set implements [backends.Backend].
func (b *Backend) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := b.checkItem("set", key, value, ttl); err != nil {
		return err
	}
	_, err := do(ctx, b, "set", func(ctx context.Context) (struct{}, error) {
		_, refused, err := b.stamped(func(s stamp) error {
			_, err := b.client.PutItem(ctx, &dynamodb.PutItemInput{
				TableName:                           &b.table,
				Item:                                b.item(key, value, ttl, s.number),
				ConditionExpression:                 aws.String(s.condition()),
				ExpressionAttributeNames:            b.stampName,
				ExpressionAttributeValues:           s.values(attributes{}),
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
			}, forItem...)
			return err
		})
		if refused {
			err = errRefused
		}
		return struct{}{}, err
	})
	return err
}

// errRefused is the answer to a server that refuses a write for its stamp and
// then shows no later one.
var errRefused = errors.New("the server refuses the write for a condition that holds")

func (b *Backend) checkItem(op, key string, value []byte, ttl time.Duration) error {
	if err := backends.CheckKey(key); err != nil {
		return err
	}
	if ttl <= 0 {
		return backends.ErrTTL
	}
	if b.itemBytes(key, len(value)) > maxItemBytes {
		return &backends.Error{Op: op, Backend: backendType, Kind: backends.TooLarge, Err: errItemSize}
	}
	return nil
}

// Delete implements [backends.Backend].
func (b *Backend) Delete(ctx context.Context, key string) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	return do(ctx, b, "delete", func(ctx context.Context) (bool, error) {
		_, refused, err := b.stamped(func(s stamp) error {
			_, err := b.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
				TableName:                           &b.table,
				Key:                                 b.key(key),
				ConditionExpression:                 aws.String(alive + " AND " + s.condition()),
				ExpressionAttributeNames:            b.conditionNames(nil),
				ExpressionAttributeValues:           s.values(attributes{":now": now()}),
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
			}, forItem...)
			return err
		})
		return err == nil && !refused, err
	})
}

// conditionNames adds the names that alive and stamps need to others.
func (b *Backend) conditionNames(others map[string]string) map[string]string {
	if others == nil {
		others = map[string]string{}
	}
	others["#k"], others["#x"], others["#s"] = b.attr.Key, b.attr.Expiry, b.attr.Stamp
	return others
}

// Exists implements [backends.Backend].
func (b *Backend) Exists(ctx context.Context, key string) (bool, error) {
	_, err := b.remaining(ctx, "exists", key)
	if errors.Is(err, backends.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// remaining reads how long an entry has to live, without its value.
func (b *Backend) remaining(ctx context.Context, op, key string) (time.Duration, error) {
	if err := backends.CheckKey(key); err != nil {
		return 0, err
	}
	return do(ctx, b, op, func(ctx context.Context) (time.Duration, error) {
		it, err := b.getItem(ctx, key, true)
		if err != nil {
			return 0, err
		}
		return b.left(it)
	})
}

// probe is a key that Health asks for. No entry has it: a NUL is refused.
const probe = "health\x00"

// Health implements [backends.Backend] with the read of a missing item. Details:
// the table, and whether reads are strongly consistent.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	_, err := do(ctx, b, "health", func(ctx context.Context) (attributes, error) {
		return b.getItem(ctx, probe, true)
	})
	h := backends.Health{OK: err == nil, Err: err, Latency: time.Since(start), BackendType: backendType}
	if err == nil {
		h.Details = map[string]string{"table": b.table, "reads": "eventual"}
		if b.consistent {
			h.Details["reads"] = "consistent"
		}
	}
	return h
}

// Close implements [backends.Backend]. It closes the connections of the client
// that Open made; a client that was given to New is not touched. It waits for
// nothing: calls under way end by themselves, with their context or within
// Options.Timeout. Later ones are [backends.ErrClosed].
func (b *Backend) Close() error {
	if !b.closed.Swap(true) && b.release != nil {
		b.release()
	}
	return nil
}
