package dynamodbbackend

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/token"
)

// lockSuffix is where the family keeps the lock of a key (cachekit-py and
// cachekit-rs on Redis).
const lockSuffix = ":lock"

// Lock implements [backends.Locker] with a put on the condition that there is no
// item <key>:lock, or an expired one. If the answer is lost, the attempt is
// repeated once, under the same token. When Lock fails for another reason than
// ErrLocked, a lock may be left that nobody holds; it ends with its lease.
func (b *Backend) Lock(ctx context.Context, key string, lease time.Duration) (string, error) {
	if err := backends.CheckKey(key); err != nil {
		return "", err
	}
	if lease <= 0 {
		return "", backends.ErrTTL
	}
	proof := token.New()
	attempt := func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.lock(ctx, key+lockSuffix, proof, lease)
	}
	_, err := do(ctx, b, "lock", attempt)
	var failed *backends.Error
	if errors.As(err, &failed) && failed.Kind == backends.Transient && failed.RetryAfter == 0 {
		_, err = do(ctx, b, "lock", attempt)
	}
	if err != nil {
		return "", err
	}
	return proof, nil
}

// lock takes the lock, also if an attempt whose answer was lost has it.
func (b *Backend) lock(ctx context.Context, name, token string, lease time.Duration) error {
	_, err := b.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                 &b.table,
		Item:                      b.item(name, []byte(token), lease, number(b.stamps.next())),
		ConditionExpression:       aws.String("attribute_not_exists(#k) OR #x <= :now OR #v = :token"),
		ExpressionAttributeNames:  map[string]string{"#k": b.attr.Key, "#x": b.attr.Expiry, "#v": b.attr.Value},
		ExpressionAttributeValues: attributes{":now": now(), ":token": binary([]byte(token))},
	}, forItem...)
	if conditionFailed(err) {
		return backends.ErrLocked
	}
	return err
}

// Unlock implements [backends.Locker].
func (b *Backend) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := backends.CheckKey(key); err != nil {
		return false, err
	}
	return do(ctx, b, "unlock", func(ctx context.Context) (bool, error) {
		_, err := b.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName:                 &b.table,
			Key:                       b.key(key + lockSuffix),
			ConditionExpression:       aws.String(alive + " AND #v = :token"),
			ExpressionAttributeNames:  map[string]string{"#k": b.attr.Key, "#x": b.attr.Expiry, "#v": b.attr.Value},
			ExpressionAttributeValues: attributes{":now": now(), ":token": binary([]byte(token))},
		}, forItem...)
		if conditionFailed(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func conditionFailed(err error) bool {
	var failed *types.ConditionalCheckFailedException
	return errors.As(err, &failed)
}
