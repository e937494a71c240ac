package dynamodbbackend

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// maxItemBytes is the largest item, names and values of its attributes
	// together (DynamoDB Developer Guide, "Quotas": 400 KB).
	maxItemBytes = 400 << 10
	// numberBytes is what a number of 19 digits takes at most: one byte for two
	// digits and two more (Developer Guide, "Item sizes and formats").
	numberBytes = 12
)

// errItem is the answer to an item that this package did not write.
var errItem = errors.New("the stored item is not one of this package: Options.Attributes or the table may be wrong")

type attributes = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// binary never holds nil, which would be sent as null.
func binary(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

// integer reads a number attribute.
func integer(v types.AttributeValue) (int64, bool) {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// itemBytes is the size of an item as DynamoDB counts it.
func (b *Backend) itemBytes(key string, value int) int {
	a := &b.attr
	return len(a.Key) + len(key) + len(a.Value) + value + len(a.TTL) + len(a.Expiry) + len(a.Stamp) + 3*numberBytes
}

// item is the entry as it is stored.
func (b *Backend) item(key string, value []byte, ttl time.Duration, stamp types.AttributeValue) attributes {
	it := attributes{b.attr.Key: text(key), b.attr.Value: binary(value), b.attr.Stamp: stamp}
	if ttl != backends.NoExpiry {
		ms := expiry(time.Now(), ttl)
		it[b.attr.Expiry], it[b.attr.TTL] = number(ms), number(seconds(ms))
	}
	return it
}

// expiry is the millisecond at which an entry ends, rounded up.
func expiry(now time.Time, ttl time.Duration) int64 {
	ms := now.UnixMilli() + int64(ttl/time.Millisecond)
	if rest := time.Duration(now.Nanosecond())%time.Millisecond + ttl%time.Millisecond; rest > 0 {
		ms += int64((rest + time.Millisecond - 1) / time.Millisecond)
	}
	return ms
}

// seconds rounds up, so that DynamoDB never deletes an entry that lives.
func seconds(ms int64) int64 { return (ms + 999) / 1000 }

// left returns the time that an item has to live. A missing or expired one is
// ErrNotFound.
func (b *Backend) left(it attributes) (time.Duration, error) {
	if it == nil {
		return 0, backends.ErrNotFound
	}
	at, ok := it[b.attr.Expiry]
	if !ok {
		return backends.NoExpiry, nil
	}
	ms, ok := integer(at)
	if !ok {
		return 0, errItem
	}
	const longest = math.MaxInt64 / int64(time.Millisecond)
	rest := ms - time.Now().UnixMilli()
	switch {
	case ms <= 0 || rest <= 0:
		return 0, backends.ErrNotFound
	case rest > longest:
		return backends.NoExpiry - 1, nil
	}
	return time.Duration(rest) * time.Millisecond, nil
}

// entry reads an item. The value is the caller's: the SDK decoded it for this
// call alone.
func (b *Backend) entry(it attributes) (backends.Entry, error) {
	left, err := b.left(it)
	if err != nil {
		return backends.Entry{}, err
	}
	v, ok := it[b.attr.Value].(*types.AttributeValueMemberB)
	if !ok {
		return backends.Entry{}, errItem
	}
	if v.Value == nil {
		v.Value = []byte{}
	}
	return backends.Entry{Value: v.Value, TTL: left}, nil
}

// Expressions of conditions over the names and values of a query.
const (
	// alive holds for an item that is there and has not expired.
	alive = "attribute_exists(#k) AND (attribute_not_exists(#x) OR #x > :now)"
	// unordered holds if the write may take place as far as stamps say;
	// reordered, if the item still has the later stamp that was seen.
	unordered = "(attribute_not_exists(#s) OR #s <= :s)"
	reordered = "(attribute_not_exists(#s) OR #s <= :s OR #s = :seen)"
)

// now is the value of :now.
func now() types.AttributeValue { return number(time.Now().UnixMilli()) }
