package dynamodbbackend_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// timed returns how long n calls of f by some callers take.
func timed(b *testing.B, callers, n int, f func() error) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// beside runs the bare client and ours by turns, so that both meet the same noise,
// and reports the median time of a call of each and of their ratio (above 1: ours
// is faster).
func beside(b *testing.B, callers int, bare, ours func() error) {
	const rounds = 15
	n := max(b.N/rounds, callers)
	var times [2][]float64
	for i := range 2 * rounds {
		which := (i + i/2) % 2 // who goes first alternates too
		times[which] = append(times[which], timed(b, callers, n, []func() error{bare, ours}[which]).Seconds()/float64(n))
	}
	var ratios []float64
	for i := range rounds {
		ratios = append(ratios, times[0][i]/times[1][i])
	}
	for _, s := range [][]float64{times[0], times[1], ratios} {
		slices.Sort(s)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[0][rounds/2]*1e6, "bare-us")
	b.ReportMetric(times[1][rounds/2]*1e6, "ours-us")
	b.ReportMetric(ratios[rounds/2], "ratio")
}

// BenchmarkCalls compares with the bare SDK client on the same table: consistent
// reads, puts without a condition. Both have connections for all callers.
func BenchmarkCalls(b *testing.B) {
	server := testenv.DynamoDB(b)
	s := onServer(b, server, &dynamodbbackend.Options{Timeout: time.Minute})
	bare := connect(b, server.URL())
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for _, size := range []int{1 << 10, 64 << 10} {
		key, value := fmt.Sprintf("k%d", size), make([]byte, size)
		set(b, s.Backend, key, string(value))
		for _, c := range []struct {
			name       string
			bare, ours func() error
		}{
			{"get", func() error { return bareGet(ctx, bare, s.table, key) },
				func() error { _, err := s.Get(ctx, key); return err }},
			{"set", func() error { return barePut(ctx, bare, s.table, key, value) },
				func() error { return s.Set(ctx, key, value, time.Minute) }},
		} {
			for _, callers := range []int{1, 16} {
				if c.name == "set" && callers > 1 {
					continue // of one key: BenchmarkSets has many
				}
				b.Run(fmt.Sprintf("%s/%dB/x%d", c.name, size, callers), func(b *testing.B) { beside(b, callers, c.bare, c.ours) })
			}
		}
	}
}

// BenchmarkSets compares 16 callers who each write a key of their own.
func BenchmarkSets(b *testing.B) {
	server := testenv.DynamoDB(b)
	s := onServer(b, server, &dynamodbbackend.Options{Timeout: time.Minute})
	bare := connect(b, server.URL())
	var turn atomic.Int64
	key := func() string { return fmt.Sprint("k", turn.Add(1)%1000) }
	for _, size := range []int{1 << 10, 64 << 10} {
		value := make([]byte, size)
		b.Run(fmt.Sprintf("%dB/x16", size), func(b *testing.B) {
			beside(b, 16, func() error { return barePut(b.Context(), bare, s.table, key(), value) },
				func() error { return s.Set(b.Context(), key(), value, time.Minute) })
		})
	}
}

// BenchmarkBatches compares 100 keys of 1 KiB with BatchGetItem, and with four
// BatchWriteItem, of which ours has several under way.
func BenchmarkBatches(b *testing.B) {
	server := testenv.DynamoDB(b)
	s := onServer(b, server, &dynamodbbackend.Options{Timeout: time.Minute})
	bare := connect(b, server.URL())
	keys, items := numbered(100)
	for i := range items {
		items[i].Value = make([]byte, 1024)
	}
	if err := errors.Join(s.SetMany(b.Context(), items)...); err != nil {
		b.Fatal(err)
	}
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("get/x%d", callers), func(b *testing.B) {
			beside(b, callers, func() error { return bareGetMany(b.Context(), bare, s.table, keys) },
				func() error { return s.GetMany(b.Context(), keys)[99].Err })
		})
		b.Run(fmt.Sprintf("set/x%d", callers), func(b *testing.B) {
			beside(b, callers, func() error { return barePutMany(b.Context(), bare, s.table, items) },
				func() error { return s.SetMany(b.Context(), items)[99] })
		})
	}
}

// BenchmarkWithoutServer compares what the two cost by themselves, on answers that
// are there at once.
func BenchmarkWithoutServer(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		a := &answer{status: 200, body: `{"Item":{"value":{"B":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"},"expires_ms":{"N":"99999999999999"}}}`}
		client := connect(b, "http://127.0.0.1:1", func(o *dynamodb.Options) { o.HTTPClient = a })
		ours := over(b, client, "table", nil)
		value := make([]byte, size)
		b.Run(fmt.Sprintf("get/%dB", size), func(b *testing.B) {
			beside(b, 1, func() error { return bareGet(b.Context(), client, "table", "k") },
				func() error { _, err := ours.Get(b.Context(), "k"); return err })
		})
		b.Run(fmt.Sprintf("set/%dB", size), func(b *testing.B) {
			beside(b, 1, func() error { return barePut(b.Context(), client, "table", "k", value) },
				func() error { return ours.Set(b.Context(), "k", value, time.Minute) })
		})
	}
}

func bareGet(ctx context.Context, client *dynamodb.Client, table, key string) error {
	_, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{"key": str(key)}, ConsistentRead: aws.Bool(true)})
	return err
}

func barePut(ctx context.Context, client *dynamodb.Client, table, key string, value []byte) error {
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: bareItem(key, value)})
	return err
}

func bareItem(key string, value []byte) item {
	return item{"key": str(key), "value": &types.AttributeValueMemberB{Value: value}, "expires": num("99999999999")}
}

func bareGetMany(ctx context.Context, client *dynamodb.Client, table string, keys []string) error {
	ask := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, key := range keys {
		ask.Keys = append(ask.Keys, item{"key": str(key)})
	}
	_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: ask}})
	return err
}

func barePutMany(ctx context.Context, client *dynamodb.Client, table string, items []backends.Item) error {
	for part := range slices.Chunk(items, 25) {
		var writes []types.WriteRequest
		for _, it := range part {
			writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: bareItem(it.Key, it.Value)}})
		}
		if _, err := client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: writes}}); err != nil {
			return err
		}
	}
	return nil
}
