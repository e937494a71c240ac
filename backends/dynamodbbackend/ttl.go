package dynamodbbackend

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

// TTL implements [backends.TTLer].
func (b *Backend) TTL(ctx context.Context, key string) (time.Duration, error) {
	return b.remaining(ctx, "ttl", key)
}

// Touch implements [backends.TTLer] with a conditional update.
func (b *Backend) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	if ttl <= 0 {
		return false, backends.ErrTTL
	}
	return do(ctx, b, "touch", func(ctx context.Context) (bool, error) {
		set, remove, values := expiring(ttl)
		return b.update(ctx, key, "SET #s = :s"+set+remove, alive, map[string]string{"#t": b.attr.TTL}, values)
	})
}

// Swap implements [backends.Swapper] with an update on the condition that the
// stored bytes are the old ones. The attributes of the expiry stay as they are.
func (b *Backend) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if err := b.checkItem("swap", key, new, backends.NoExpiry); err != nil {
		return false, err
	}
	return do(ctx, b, "swap", func(ctx context.Context) (bool, error) {
		if b.itemBytes(key, len(old)) > maxItemBytes {
			return false, nil // nothing of this size is stored
		}
		return b.update(ctx, key, "SET #s = :s, #v = :new", alive+" AND #v = :old",
			map[string]string{"#v": b.attr.Value}, attributes{":old": binary(old), ":new": binary(new)})
	})
}

// Replace implements [backends.Replacer] as Swap is, with a new expiry.
func (b *Backend) Replace(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := b.checkItem("replace", key, new, ttl); err != nil {
		return false, err
	}
	return do(ctx, b, "replace", func(ctx context.Context) (bool, error) {
		if b.itemBytes(key, len(old)) > maxItemBytes {
			return false, nil // nothing of this size is stored
		}
		set, remove, values := expiring(ttl)
		values[":old"], values[":new"] = binary(old), binary(new)
		return b.update(ctx, key, "SET #s = :s, #v = :new"+set+remove, alive+" AND #v = :old",
			map[string]string{"#v": b.attr.Value, "#t": b.attr.TTL}, values)
	})
}

// expiring returns the parts of an update expression that give an item a TTL, and
// their values.
func expiring(ttl time.Duration) (set, remove string, values attributes) {
	if ttl == backends.NoExpiry {
		return "", " REMOVE #x, #t", attributes{}
	}
	ms := expiry(time.Now(), ttl)
	return ", #x = :x, #t = :t", "", attributes{":x": number(ms), ":t": number(seconds(ms))}
}

// update changes an item on a condition and reports whether it held.
func (b *Backend) update(ctx context.Context, key, expression, condition string, names map[string]string, values attributes) (bool, error) {
	_, refused, err := b.stamped(func(s stamp) error {
		values[":now"] = now()
		_, err := b.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName:                           &b.table,
			Key:                                 b.key(key),
			UpdateExpression:                    &expression,
			ConditionExpression:                 aws.String(condition + " AND " + s.condition()),
			ExpressionAttributeNames:            b.conditionNames(names),
			ExpressionAttributeValues:           s.values(values),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, forItem...)
		return err
	})
	return err == nil && !refused, err
}
