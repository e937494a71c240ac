package dynamodbbackend_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/beside"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// warmUp is how many puts of each side DynamoDB Local gets before it is measured.
const warmUp = 3000

// BenchmarkBeside compares with the bare SDK client on the same table: consistent
// reads, puts without a condition, BatchGetItem, and BatchWriteItem four times for
// 100 items, of which ours has several under way. Both have connections for all
// callers. The server is warmed up first: a JVM interprets what it has seldom run.
func BenchmarkBeside(b *testing.B) {
	server := testenv.DynamoDB(b)
	s := onServer(b, server, &dynamodbbackend.Options{Timeout: time.Minute})
	bare := connect(b, server.URL())
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	warm := make([]byte, 1<<10)
	for i := range warmUp {
		key := strconv.Itoa(i % beside.Keys)
		if err := errors.Join(barePut(ctx, bare, s.table, key, warm), s.Set(ctx, key, warm, time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	beside.Table(b, func(size int) []beside.Case {
		keys, items := numbered(beside.Keys)
		for i := range items {
			items[i].Value, items[i].TTL = make([]byte, size), time.Hour
		}
		many, batch := keys[:beside.Batch], items[:beside.Batch]
		if err := errors.Join(s.SetMany(ctx, items)...); err != nil {
			b.Fatal(err)
		}
		oursSet := func(i int) error { return s.Set(ctx, keys[i], items[i].Value, time.Hour) }
		oursSetMany := func(int) error { return s.SetMany(ctx, batch)[beside.Batch-1] }
		return []beside.Case{
			{Name: "get", Bare: func(i int) error { return bareGet(ctx, bare, s.table, keys[i]) },
				Ours: func(i int) error { _, err := s.Get(ctx, keys[i]); return err }},
			{Name: "set", Bare: func(i int) error { return barePut(ctx, bare, s.table, keys[i], items[i].Value) },
				Ours: oursSet},
			{Name: "set same", Bare: func(i int) error { return samePut(ctx, bare, s.table, items[i]) }, Ours: oursSet},
			{Name: "get100", Bare: func(int) error { return bareGetMany(ctx, bare, s.table, many) },
				Ours: func(int) error { return s.GetMany(ctx, many)[beside.Batch-1].Err }},
			{Name: "set100", Bare: func(int) error { return barePutMany(ctx, bare, s.table, batch, plainItem) }, Ours: oursSetMany},
			{Name: "set100 same", Bare: func(int) error { return barePutMany(ctx, bare, s.table, batch, sameItem) }, Ours: oursSetMany},
		}
	})
}

// BenchmarkBesideWithoutServer compares what the two cost by themselves, on answers
// that are there at once.
func BenchmarkBesideWithoutServer(b *testing.B) {
	beside.Table(b, func(size int) []beside.Case {
		a := &answer{status: 200, body: `{"Item":{"value":{"B":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"},"expires_ms":{"N":"99999999999999"}}}`}
		client := connect(b, "http://127.0.0.1:1", func(o *dynamodb.Options) { o.HTTPClient = a })
		ours, value := over(b, client, "table", nil), make([]byte, size)
		return []beside.Case{
			{Name: "get", Bare: func(int) error { return bareGet(b.Context(), client, "table", "k") },
				Ours: func(int) error { _, err := ours.Get(b.Context(), "k"); return err }},
			{Name: "set", Bare: func(int) error { return barePut(b.Context(), client, "table", "k", value) },
				Ours: func(int) error { return ours.Set(b.Context(), "k", value, time.Minute) }},
		}
	})
}

func bareGet(ctx context.Context, client *dynamodb.Client, table, key string) error {
	_, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{"key": str(key)}, ConsistentRead: aws.Bool(true)})
	return err
}

func barePut(ctx context.Context, client *dynamodb.Client, table, key string, value []byte) error {
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: bareItem(key, value)})
	return err
}

// samePut is what Set sends, without its guards.
func samePut(ctx context.Context, client *dynamodb.Client, table string, it backends.Item) error {
	put := sameItem(it)
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &table, Item: put,
		ConditionExpression:                 aws.String("(attribute_not_exists(#s) OR #s <= :s)"),
		ExpressionAttributeNames:            map[string]string{"#s": "stamp"},
		ExpressionAttributeValues:           item{":s": put["stamp"]},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	return err
}

func bareItem(key string, value []byte) item {
	return item{"key": str(key), "value": &types.AttributeValueMemberB{Value: value}, "expires": num("99999999999")}
}

func plainItem(it backends.Item) item { return bareItem(it.Key, it.Value) }

// sameItem has the attributes of an entry of this package. Its stamp is that of now.
func sameItem(it backends.Item) item {
	now := time.Now()
	same := bareItem(it.Key, it.Value)
	same["expires_ms"] = num(strconv.FormatInt(now.Add(it.TTL).UnixMilli(), 10))
	same["stamp"] = num(strconv.FormatInt(now.UnixMicro(), 10))
	return same
}

func bareGetMany(ctx context.Context, client *dynamodb.Client, table string, keys []string) error {
	ask := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, key := range keys {
		ask.Keys = append(ask.Keys, item{"key": str(key)})
	}
	_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: ask}})
	return err
}

func barePutMany(ctx context.Context, client *dynamodb.Client, table string, items []backends.Item, of func(backends.Item) item) error {
	for part := range slices.Chunk(items, 25) {
		var writes []types.WriteRequest
		for _, it := range part {
			writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: of(it)}})
		}
		if _, err := client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: writes}}); err != nil {
			return err
		}
	}
	return nil
}
