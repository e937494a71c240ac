package dynamodbbackend_test

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func bin(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }

func (s subject) put(t *testing.T, it item) {
	t.Helper()
	if _, err := s.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &s.table, Item: it}); err != nil {
		t.Fatal(err)
	}
}

func (s subject) stored(t *testing.T, keyName, key string) item {
	t.Helper()
	out, err := s.client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &s.table, Key: item{keyName: str(key)}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func millis(t *testing.T, v types.AttributeValue) int64 {
	t.Helper()
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		t.Fatalf("%T is no number", v)
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Rule: an item that has expired and that DynamoDB has not deleted yet is missing
// to every operation, and can be written over.
func expiredIsMissing(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	past := time.Now().Add(-time.Millisecond)
	expired := func() {
		s.put(t, item{"key": str("k"), "value": bin("old"), "expires_ms": num(strconv.FormatInt(past.UnixMilli(), 10)), "expires": num(strconv.FormatInt(past.Unix()+1, 10)), "stamp": num("1")})
	}
	expired()
	ctx := t.Context()
	if v, err := s.Get(ctx, "k"); v != nil || !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("Get = %q, %v", v, err)
	}
	if _, err := s.GetEntry(ctx, "k"); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("GetEntry = %v", err)
	}
	if _, err := s.TTL(ctx, "k"); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("TTL = %v", err)
	}
	if r := s.GetMany(ctx, []string{"k"}); !errors.Is(r[0].Err, backends.ErrNotFound) || r[0].Entry.Value != nil {
		t.Errorf("GetMany = %+v", r)
	}
	for what, call := range map[string]func() (bool, error){
		"Exists":     func() (bool, error) { return s.Exists(ctx, "k") },
		"Touch":      func() (bool, error) { return s.Touch(ctx, "k", time.Minute) },
		"Swap":       func() (bool, error) { return s.Swap(ctx, "k", []byte("old"), []byte("new")) },
		"Delete":     func() (bool, error) { return s.Delete(ctx, "k") },
		"Scan":       func() (bool, error) { keys, _, err := s.Scan(ctx, "", "", 0); return len(keys) > 0, err },
		"DeleteMany": func() (bool, error) { r := s.DeleteMany(ctx, []string{"k"}); return r[0].Existed, r[0].Err },
	} {
		expired()
		if ok, err := call(); ok || err != nil {
			t.Errorf("%s of an expired item = %v, %v", what, ok, err)
		}
	}
	expired()
	set(t, s.Backend, "k", "new")
	want(t, s.Backend, "k", "new")
	s.put(t, item{"key": str("k:lock"), "value": bin("token"), "expires_ms": num(strconv.FormatInt(past.UnixMilli(), 10))})
	if ok, err := s.Unlock(ctx, "k", "token"); ok || err != nil {
		t.Errorf("Unlock of an expired lock = %v, %v", ok, err)
	}
	if _, err := s.Lock(ctx, "k", time.Minute); err != nil {
		t.Errorf("Lock over an expired one = %v", err)
	}
}

// Rule: an entry is stored as documented, so that DynamoDB's TTL never deletes an
// entry that lives.
func layout(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	for _, ttl := range []time.Duration{1, 999 * time.Microsecond, 1500 * time.Millisecond, time.Hour, 30 * 365 * 24 * time.Hour, math.MaxInt64 - 1} {
		before := time.Now()
		if err := s.Set(t.Context(), "k", []byte("v"), ttl); err != nil {
			t.Fatalf("Set with ttl %v: %v", ttl, err)
		}
		after := time.Now()
		it := s.stored(t, "key", "k")
		if len(it) != 5 {
			t.Errorf("%d attributes, want 5", len(it))
		}
		ms, sec, stamp := millis(t, it["expires_ms"]), millis(t, it["expires"]), millis(t, it["stamp"])
		whole := int64(ttl / time.Millisecond)
		if ms < before.UnixMilli()+whole || ms > after.UnixMilli()+whole+2 || sec*1000 < ms || sec*1000 > ms+999 {
			t.Errorf("ttl %v: expires_ms %d, expires %d, written at %d", ttl, ms, sec, before.UnixMilli())
		}
		if stamp < before.UnixMicro() || stamp > after.UnixMicro() {
			t.Errorf("stamp %d, written at %d", stamp, before.UnixMicro())
		}
	}
	if err := s.Set(t.Context(), "k", nil, backends.NoExpiry); err != nil {
		t.Fatal(err)
	}
	if it := s.stored(t, "key", "k"); len(it) != 3 || it["expires"] != nil || it["expires_ms"] != nil {
		t.Errorf("without expiry there are %d attributes", len(it))
	}
	token, err := s.Lock(t.Context(), "k", time.Minute)
	if got := raw(t, s.client, s.table, "k:lock"); err != nil || string(got) != token {
		t.Errorf("the lock is not at k:lock: %v", err)
	}
}

// Rule: every name of an attribute works, reserved words and odd characters too.
func ownNames(t *testing.T, server *testenv.DynamoServer) {
	opts := &dynamodbbackend.Options{Attributes: dynamodbbackend.Attributes{Key: "key", Value: "value:x.y", TTL: "ttl", Expiry: "timestamp", Stamp: "s-t #ü"}}
	opts.Attributes.Key = "partition"
	s := onServer(t, server, opts)
	for name, err := range everyCall(t.Context(), s.Backend) {
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	set(t, s.Backend, "k", "v")
	if it := s.stored(t, "partition", "k"); it["value:x.y"] == nil || it["ttl"] == nil || it["timestamp"] == nil || it["s-t #ü"] == nil || len(it) != 5 {
		t.Errorf("stored attributes: %d", len(it))
	}
	if ok, err := s.Swap(t.Context(), "k", []byte("v"), []byte("w")); !ok || err != nil {
		t.Errorf("Swap = %v, %v", ok, err)
	}
}

// Rule: what somebody else stored is an error, never a value and never a panic.
func foreignItems(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	for what, it := range map[string]item{
		"no value": {}, "a string": {"value": str("canary")}, "a set": {"value": &types.AttributeValueMemberBS{Value: [][]byte{{1}}}},
		"an expiry of text": {"value": bin("v"), "expires_ms": str("canary")}, "a fraction": {"value": bin("v"), "expires_ms": num("1.5")},
		"a giant expiry": {"value": bin("v"), "expires_ms": num("1e100")},
	} {
		it["key"] = str("k")
		s.put(t, it)
		_, err := s.Get(t.Context(), "k")
		failed(t, "Get of "+what, err, backends.Permanent)
		failed(t, "GetMany of "+what, s.GetMany(t.Context(), []string{"k"})[0].Err, backends.Permanent)
		set(t, s.Backend, "k", "ours")
		want(t, s.Backend, "k", "ours")
	}
	s.put(t, item{"key": str("k"), "value": bin("v"), "expires_ms": num(strconv.FormatInt(math.MaxInt64, 10)), "other": str(strings.Repeat("x", 300_000))})
	if e, err := s.GetEntry(t.Context(), "k"); err != nil || string(e.Value) != "v" || e.TTL != backends.NoExpiry-1 {
		t.Errorf("GetEntry = %v, %v", e.TTL, err)
	}
}

// Rule: the largest item fits, one byte more is refused before it is sent.
func sizes(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, &dynamodbbackend.Options{Timeout: time.Minute})
	const key = "canary-key:k"
	largest := []byte(strings.Repeat("x", maxValue))
	if err := s.Set(t.Context(), key, largest, math.MaxInt64-1); err != nil {
		t.Fatalf("Set of the largest value: %v", err)
	}
	want(t, s.Backend, key, string(largest))
	other := []byte(strings.Repeat("y", maxValue))
	if ok, err := s.Swap(t.Context(), key, largest, other); !ok || err != nil {
		t.Errorf("Swap of the largest values = %v, %v", ok, err)
	}
	if ok, err := s.Swap(t.Context(), key, append(other, 'y', 'y'), other); ok || err != nil {
		t.Errorf("Swap of what cannot be stored = %v, %v", ok, err)
	}
	a := &answer{status: 200, body: "{}"}
	b := a.backend(t)
	for _, more := range []int{1, 1 << 20} {
		over := make([]byte, maxValue+more)
		failed(t, "Set", b.Set(t.Context(), key, over, time.Minute), backends.TooLarge)
		_, err := b.Swap(t.Context(), key, nil, over)
		failed(t, "Swap", err, backends.TooLarge)
		failed(t, "SetMany", b.SetMany(t.Context(), []backends.Item{{Key: key, Value: over, TTL: time.Minute}})[0], backends.TooLarge)
	}
	if n := a.calls.Load(); n != 0 {
		t.Errorf("%d requests for refused items", n)
	}
	items := make([]backends.Item, 42) // over the 16 MB of one answer
	keys := make([]string, len(items))
	for i := range items {
		keys[i] = strconv.Itoa(i)
		items[i] = backends.Item{Key: keys[i], Value: largest, TTL: time.Minute}
	}
	for i, err := range s.SetMany(t.Context(), items) {
		if err != nil {
			t.Fatalf("SetMany of large items: %d: %v", i, err)
		}
	}
	for i, r := range s.GetMany(t.Context(), keys) {
		if r.Err != nil || len(r.Entry.Value) != maxValue {
			t.Fatalf("GetMany of large items: %d: %d bytes, %v", i, len(r.Entry.Value), r.Err)
		}
	}
	// The service's own limit, for a table whose items have other attributes.
	s.put(t, item{"key": str("k"), "value": bin("v"), "other": str(strings.Repeat("x", 300_000))})
	_, err := s.Swap(t.Context(), "k", []byte("v"), largest)
	failed(t, "Swap beside another attribute", err, backends.TooLarge)
}

// Rule: a stamp from the future, or one that is none, does not keep a write out
// that is waited for; its successor is later than it where there is a later one.
func foreignStamps(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	ahead := time.Now().Add(24 * time.Hour).UnixMicro()
	for what, stamp := range map[string]types.AttributeValue{
		"ahead": num(strconv.FormatInt(ahead, 10)), "the last": num(strconv.FormatInt(math.MaxInt64, 10)), "giant": num("9e120"),
		"a fraction": num("99999999999999999.5"), "text": str("canary"), "null": &types.AttributeValueMemberNULL{Value: true},
	} {
		for name, call := range map[string]func(context.Context) (bool, error){
			"Set":    func(ctx context.Context) (bool, error) { return true, s.Set(ctx, "k", []byte("w"), time.Minute) },
			"Delete": func(ctx context.Context) (bool, error) { return s.Delete(ctx, "k") },
			"Touch":  func(ctx context.Context) (bool, error) { return s.Touch(ctx, "k", time.Hour) },
			"Swap":   func(ctx context.Context) (bool, error) { return s.Swap(ctx, "k", []byte("v"), []byte("w")) },
		} {
			s.put(t, item{"key": str("k"), "value": bin("v"), "stamp": stamp})
			if ok, err := call(t.Context()); !ok || err != nil {
				t.Errorf("%s over a stamp that is %s = %v, %v", name, what, ok, err)
			}
			if it := s.stored(t, "key", "k"); what == "ahead" && it != nil && millis(t, it["stamp"]) != ahead+1 {
				t.Errorf("the stamp after %s is %d, want %d", name, millis(t, it["stamp"]), ahead+1)
			}
		}
		s.put(t, item{"key": str("k"), "value": bin("v"), "stamp": stamp})
		if ok, err := s.Swap(t.Context(), "k", []byte("other"), []byte("w")); ok || err != nil {
			t.Errorf("Swap of another value under a stamp that is %s = %v, %v", what, ok, err)
		}
	}
}

// Rule: writers of one key whose clocks disagree all succeed.
func manyWritersOfOneKey(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	s.put(t, item{"key": str("k"), "value": bin("v"), "stamp": num(strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10))})
	var wg sync.WaitGroup
	for range 16 {
		b := over(t, s.client, s.table, nil)
		wg.Go(func() {
			for range 5 {
				if err := b.Set(t.Context(), "k", []byte("w"), time.Minute); err != nil {
					t.Errorf("Set = %v", err)
				}
			}
		})
	}
	wg.Wait()
	want(t, s.Backend, "k", "w")
}

// Rule: a cursor works in another process, and one that Scan did not make is
// refused.
func scanCursor(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	found := map[string]bool{}
	for i := range 30 {
		set(t, s.Backend, "k:"+strconv.Itoa(i), "v")
	}
	for cursor := ""; ; {
		keys, next, err := over(t, s.client, s.table, nil).Scan(t.Context(), "k:", cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			found[k] = true
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(found) != 30 {
		t.Errorf("%d keys found, want 30", len(found))
	}
	for _, cursor := range []string{"*", "a b", "0", strings.Repeat("A", 4000)} {
		_, _, err := s.Scan(t.Context(), "", cursor, 0)
		failed(t, "Scan from "+cursor[:1], err, backends.Permanent)
	}
}

// spy counts the reads by consistency.
type spy struct {
	*dynamodb.Client
	consistent, eventual int
}

func (s *spy) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if *in.ConsistentRead {
		s.consistent++
	} else {
		s.eventual++
	}
	return s.Client.GetItem(ctx, in, opts...)
}

// Rule: reads are consistent unless told otherwise.
func eventual(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	count := &spy{Client: s.client}
	set(t, s.Backend, "k", "v")
	want(t, over(t, count, s.table, nil), "k", "v")
	if count.consistent != 1 || count.eventual != 0 {
		t.Errorf("by default: %d consistent, %d eventual", count.consistent, count.eventual)
	}
	want(t, over(t, count, s.table, &dynamodbbackend.Options{EventualReads: true}), "k", "v")
	if count.consistent != 1 || count.eventual != 1 {
		t.Errorf("with EventualReads: %d consistent, %d eventual", count.consistent, count.eventual)
	}
}
