package dynamodbbackend

import (
	"bytes"
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// maxReads and maxWrites are the most items of one request (API reference,
	// BatchGetItem and BatchWriteItem).
	maxReads  = 100
	maxWrites = 25
	// maxWriteBytes splits writes further: the SDK does not look at the context
	// while it encodes a request.
	maxWriteBytes = 1 << 20
	// maxParts is how many requests of one batch are under way at once.
	maxParts = 8
)

// GetMany implements [backends.Batcher] with one BatchGetItem for each 100 keys,
// eight at a time. TTLs are known.
func (b *Backend) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	results := make([]backends.GetResult, len(keys))
	u := distinct(keys, backends.CheckKey, func(i int, err error) { results[i].Err = err })
	entries, errs := make([]backends.Entry, len(u.keys)), make([]error, len(u.keys))
	parts(pieces(len(u.keys), maxReads, nil), func(from, to int) {
		found, failed := b.getPart(ctx, "get many", u.keys[from:to], false)
		for i := from; i < to; i++ {
			if errs[i] = failed(u.keys[i]); errs[i] == nil {
				entries[i], errs[i] = b.entry(found[u.keys[i]])
			}
			if errs[i] != nil {
				errs[i] = fail(ctx, "get many", errs[i])
			}
		}
	})
	for n, uses := range u.uses {
		for repeat, i := range uses {
			results[i] = backends.GetResult{Entry: entries[n], Err: errs[n]}
			if repeat > 0 { // each slice has one owner
				results[i].Entry.Value = bytes.Clone(entries[n].Value)
			}
		}
	}
	return results
}

// getPart reads up to maxReads different keys, or of each item only key and expiry.
// failed says why a key that is not among the found was not read.
func (b *Backend) getPart(ctx context.Context, op string, keys []string, brief bool) (found map[string]attributes, failed func(key string) error) {
	found, left := make(map[string]attributes, len(keys)), make(map[string]bool, len(keys))
	ask := types.KeysAndAttributes{ConsistentRead: &b.consistent}
	if brief {
		ask.ProjectionExpression = aws.String("#k, #x")
		ask.ExpressionAttributeNames = map[string]string{"#k": b.attr.Key, "#x": b.attr.Expiry}
	}
	for _, key := range keys {
		left[key] = true
		ask.Keys = append(ask.Keys, b.key(key))
	}
	limit := min(int64(len(keys))*itemAnswer, batchAnswer)
	_, err := do(ctx, b, op, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, persist(ctx, func() (progress, done bool, err error) {
			out, err := b.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{b.table: ask},
			}, guarded(limit)...)
			if err != nil {
				return false, false, err
			}
			before := len(left)
			ask.Keys = b.took(out, left, found)
			return len(left) < before, len(ask.Keys) == 0, nil
		})
	})
	return found, func(key string) error {
		if left[key] {
			return err
		}
		return nil
	}
}

// took moves what an answer settles out of left, and returns the keys to ask for
// again. Keys that were not asked for are ignored.
func (b *Backend) took(out *dynamodb.BatchGetItemOutput, left map[string]bool, found map[string]attributes) (again []attributes) {
	for _, items := range out.Responses { // the table can be named by its ARN
		for _, it := range items {
			if key, ok := it[b.attr.Key].(*types.AttributeValueMemberS); ok && left[key.Value] {
				found[key.Value] = it
				delete(left, key.Value)
			}
		}
	}
	unprocessed := map[string]bool{}
	for _, rest := range out.UnprocessedKeys {
		for _, k := range rest.Keys {
			if key, ok := k[b.attr.Key].(*types.AttributeValueMemberS); ok && left[key.Value] && !unprocessed[key.Value] {
				unprocessed[key.Value] = true
				again = append(again, b.key(key.Value))
			}
		}
	}
	for key := range left {
		if !unprocessed[key] { // there is no such item
			delete(left, key)
		}
	}
	return again
}

// SetMany implements [backends.Batcher] with one BatchWriteItem for each 25 items
// or 1 MB, eight at a time. Of items with one key only the last valid one is sent, and its
// result is that of all.
func (b *Backend) SetMany(ctx context.Context, items []backends.Item) []error {
	errs := make([]error, len(items))
	keys := make([]string, len(items))
	for i, it := range items {
		keys[i] = it.Key
		errs[i] = b.checkItem("set many", it.Key, it.Value, it.TTL)
	}
	u := distinctOf(keys, func(i int) bool { return errs[i] == nil })
	last := func(n int) backends.Item { return items[u.uses[n][len(u.uses[n])-1]] }
	size := func(n int) int { return len(last(n).Value) }
	b.writeMany(ctx, "set many", u, pieces(len(u.keys), maxWrites, size), func(n int) types.WriteRequest {
		it := last(n)
		return types.WriteRequest{PutRequest: &types.PutRequest{Item: b.item(it.Key, it.Value, it.TTL, number(b.stamps.next()))}}
	}, func(i int, err error) { errs[i] = err })
	return errs
}

// DeleteMany implements [backends.Batcher] with a BatchGetItem, which tells what
// there is, and a BatchWriteItem. An entry that another caller deletes between the
// two is reported by both.
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	results := make([]backends.DeleteResult, len(keys))
	u := distinct(keys, backends.CheckKey, func(i int, err error) { results[i].Err = err })
	existed := make([]bool, len(u.keys))
	parts(pieces(len(u.keys), maxReads, nil), func(from, to int) {
		found, _ := b.getPart(ctx, "delete many", u.keys[from:to], true)
		for i := from; i < to; i++ {
			_, err := b.left(found[u.keys[i]])
			existed[i] = err == nil
		}
	})
	b.writeMany(ctx, "delete many", u, pieces(len(u.keys), maxWrites, nil), func(n int) types.WriteRequest {
		return types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: b.key(u.keys[n])}}
	}, func(i int, err error) { results[i].Err = err })
	for n, uses := range u.uses {
		i := uses[0] // a repetition finds nothing left
		results[i].Existed = existed[n] && results[i].Err == nil
	}
	return results
}

// writeMany sends one request for each distinct key and reports the outcome to
// every index that has the key.
func (b *Backend) writeMany(ctx context.Context, op string, u unique, cuts []int, request func(int) types.WriteRequest, report func(int, error)) {
	parts(cuts, func(from, to int) {
		requests := make(map[string]types.WriteRequest, to-from)
		for n := from; n < to; n++ {
			requests[u.keys[n]] = request(n)
		}
		err := b.writePart(ctx, op, requests)
		for n := from; n < to; n++ {
			for _, i := range u.uses[n] {
				if _, left := requests[u.keys[n]]; left {
					report(i, err)
				}
			}
		}
	})
}

// writePart sends requests until none is unprocessed, and removes from them what
// is done.
func (b *Backend) writePart(ctx context.Context, op string, requests map[string]types.WriteRequest) error {
	_, err := do(ctx, b, op, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, persist(ctx, func() (progress, done bool, err error) {
			send := make([]types.WriteRequest, 0, len(requests))
			for _, r := range requests {
				send = append(send, r)
			}
			out, err := b.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{b.table: send},
			}, guarded(batchAnswer)...)
			if err != nil {
				return false, false, err
			}
			before := len(requests)
			b.keepUnprocessed(requests, out.UnprocessedItems)
			return len(requests) < before, len(requests) == 0, nil
		})
	})
	return err
}

func (b *Backend) keepUnprocessed(requests map[string]types.WriteRequest, rest map[string][]types.WriteRequest) {
	left := map[string]bool{}
	for _, table := range rest {
		for _, r := range table {
			var it attributes
			switch {
			case r.PutRequest != nil:
				it = r.PutRequest.Item
			case r.DeleteRequest != nil:
				it = r.DeleteRequest.Key
			}
			if key, ok := it[b.attr.Key].(*types.AttributeValueMemberS); ok {
				left[key.Value] = true
			}
		}
	}
	for key := range requests {
		if !left[key] {
			delete(requests, key)
		}
	}
}

// unique are the different keys of a batch, in order, and which inputs have each.
type unique struct {
	keys []string
	uses [][]int
}

// distinct leaves out, and reports, the keys that are not ok.
func distinct(keys []string, ok func(string) error, refuse func(int, error)) unique {
	return distinctOf(keys, func(i int) bool {
		err := ok(keys[i])
		if err != nil {
			refuse(i, err)
		}
		return err == nil
	})
}

func distinctOf(keys []string, valid func(int) bool) unique {
	u := unique{}
	at := make(map[string]int, len(keys))
	for i, key := range keys {
		if !valid(i) {
			continue
		}
		n, known := at[key]
		if !known {
			n = len(u.keys)
			at[key] = n
			u.keys, u.uses = append(u.keys, key), append(u.uses, nil)
		}
		u.uses[n] = append(u.uses[n], i)
	}
	return u
}

// pieces cuts [0, n) into pieces of at most size, and of maxWriteBytes where there
// are bytes to count. It returns where each begins and where the last ends.
func pieces(n, size int, bytes func(int) int) (cuts []int) {
	begin, sum := 0, 0
	for i := range n {
		add := 0
		if bytes != nil {
			add = bytes(i)
		}
		if i == 0 || i-begin == size || sum+add > maxWriteBytes {
			cuts = append(cuts, i)
			begin, sum = i, 0
		}
		sum += add
	}
	return append(cuts, n)
}

// parts runs f over each piece, a few at a time.
func parts(cuts []int, f func(from, to int)) {
	if len(cuts) == 2 {
		f(cuts[0], cuts[1])
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParts)
	for i := range len(cuts) - 1 {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(cuts[i], cuts[i+1])
		})
	}
	wg.Wait()
}
