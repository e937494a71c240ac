package dynamodbbackend_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// reluctant processes at most take items of a batch, after throttling some
// requests altogether. It never processes the key stuck.
type reluctant struct {
	*dynamodb.Client
	take     int
	throttle atomic.Int64
	stuck    string
	requests atomic.Int64
}

func (r *reluctant) refuses() error {
	r.requests.Add(1)
	if r.throttle.Add(-1) >= 0 {
		return &types.ProvisionedThroughputExceededException{}
	}
	return nil
}

func (r *reluctant) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	if err := r.refuses(); err != nil {
		return nil, err
	}
	later := map[string]types.KeysAndAttributes{}
	now := map[string]types.KeysAndAttributes{}
	for table, ask := range in.RequestItems {
		part, rest := ask, ask
		part.Keys, rest.Keys = nil, nil
		for _, k := range ask.Keys {
			if len(part.Keys) < r.take && k["key"].(*types.AttributeValueMemberS).Value != r.stuck {
				part.Keys = append(part.Keys, k)
			} else {
				rest.Keys = append(rest.Keys, k)
			}
		}
		now[table], later[table] = part, rest
		if len(part.Keys) == 0 {
			return &dynamodb.BatchGetItemOutput{UnprocessedKeys: later}, nil
		}
	}
	out, err := r.Client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: now}, opts...)
	if err == nil {
		out.UnprocessedKeys = later
	}
	return out, err
}

func (r *reluctant) BatchWriteItem(ctx context.Context, in *dynamodb.BatchWriteItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	if err := r.refuses(); err != nil {
		return nil, err
	}
	later, now := map[string][]types.WriteRequest{}, map[string][]types.WriteRequest{}
	for table, writes := range in.RequestItems {
		for _, w := range writes {
			var it item
			if w.PutRequest != nil {
				it = w.PutRequest.Item
			} else {
				it = w.DeleteRequest.Key
			}
			if len(now[table]) < r.take && it["key"].(*types.AttributeValueMemberS).Value != r.stuck {
				now[table] = append(now[table], w)
			} else {
				later[table] = append(later[table], w)
			}
		}
	}
	if len(now) == 0 {
		return &dynamodb.BatchWriteItemOutput{UnprocessedItems: later}, nil
	}
	out, err := r.Client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: now}, opts...)
	if err == nil {
		out.UnprocessedItems = later
	}
	return out, err
}

func numbered(n int) (keys []string, items []backends.Item) {
	for i := range n {
		keys = append(keys, "k"+strconv.Itoa(i))
		items = append(items, backends.Item{Key: keys[i], Value: []byte(keys[i]), TTL: time.Minute})
	}
	return keys, items
}

func batchWorks(t *testing.T, b *dynamodbbackend.Backend) {
	t.Helper()
	keys, items := numbered(60)
	for i, err := range b.SetMany(t.Context(), items) {
		if err != nil {
			t.Fatalf("SetMany: %d: %v", i, err)
		}
	}
	for i, r := range b.GetMany(t.Context(), append(keys, "missing")) {
		if missing := i == len(keys); missing != errors.Is(r.Err, backends.ErrNotFound) || !missing && string(r.Entry.Value) != keys[i] {
			t.Fatalf("GetMany: %d: %q, %v", i, r.Entry.Value, r.Err)
		}
	}
	for i, r := range b.DeleteMany(t.Context(), append(keys, "missing")) {
		if r.Err != nil || r.Existed != (i < len(keys)) {
			t.Fatalf("DeleteMany: %d: %+v", i, r)
		}
	}
}

// Rule: what DynamoDB leaves unprocessed is sent again until it is done.
func unprocessed(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	r := &reluctant{Client: s.client, take: 9}
	batchWorks(t, over(t, r, s.table, &dynamodbbackend.Options{Timeout: time.Minute}))
	// 60 writes in parts of 25, 61 reads in one, and so again for the deletion.
	if n := r.requests.Load(); n != 3+3+2+7+7+3+3+2 {
		t.Errorf("%d requests", n)
	}
}

// Rule: a part that is throttled altogether is sent again, too.
func throttledBatch(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	r := &reluctant{Client: s.client, take: 100}
	r.throttle.Store(4)
	batchWorks(t, over(t, r, s.table, &dynamodbbackend.Options{Timeout: time.Minute}))
}

// Rule: a key that stays unprocessed fails alone, as Transient at the backend's
// limit, as the context's error at the caller's; pauses keep the requests few.
func stuckBatch(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	keys, items := numbered(5)
	set(t, s.Backend, "k2", "k2")
	r := &reluctant{Client: s.client, take: 100, stuck: "k2"}
	b := over(t, r, s.table, &dynamodbbackend.Options{Timeout: 500 * time.Millisecond})
	for i, err := range b.SetMany(t.Context(), items) {
		if i == 2 {
			failed(t, "SetMany", err, backends.Transient)
		} else if err != nil {
			t.Errorf("SetMany: %d: %v", i, err)
		}
	}
	for i, r := range b.GetMany(t.Context(), keys) {
		if i == 2 {
			failed(t, "GetMany", r.Err, backends.Transient)
		} else if r.Err != nil || string(r.Entry.Value) != keys[i] {
			t.Errorf("GetMany: %d: %v", i, r.Err)
		}
	}
	if n := r.requests.Load(); n > 20 {
		t.Errorf("%d requests in a second", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := r.requests.Load() + 1
	go func() {
		for r.requests.Load() <= first && ctx.Err() == nil { // the second follows the answer to the first
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	start := time.Now()
	for i, r := range over(t, r, s.table, nil).GetMany(ctx, keys) {
		if (i == 2) != errors.Is(r.Err, context.Canceled) || i != 2 && r.Err != nil {
			t.Errorf("GetMany, cancelled: %d: %v", i, r.Err)
		}
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("cancelled GetMany took %v", took)
	}
	if got := b.DeleteMany(t.Context(), []string{"k2", "k1"}); got[0].Err == nil || got[0].Existed || got[1].Err != nil {
		t.Errorf("DeleteMany = %+v", got)
	}
}

// Rule: the results of one key that is given twice are two slices, and a deletion
// that is given twice finds one entry.
func batchOwners(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	set(t, s.Backend, "k", "value")
	got := s.GetMany(t.Context(), []string{"k", "bad\n", "k"})
	clear(got[0].Entry.Value)
	if string(got[2].Entry.Value) != "value" || got[2].Entry.TTL <= 0 {
		t.Errorf("GetMany = %+v", got)
	}
	gone := s.DeleteMany(t.Context(), []string{"k", "bad\n", "k"})
	if !gone[0].Existed || gone[2].Existed || gone[1].Err == nil {
		t.Errorf("DeleteMany = %+v", gone)
	}
	errs := s.SetMany(t.Context(), []backends.Item{
		{Key: "k", Value: []byte("one"), TTL: time.Minute}, {Key: "k", Value: []byte("two"), TTL: time.Minute}, {Key: "k", Value: []byte("bad"), TTL: 0},
	})
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], backends.ErrTTL) {
		t.Errorf("SetMany = %v", errs)
	}
	want(t, s.Backend, "k", "two")
}
