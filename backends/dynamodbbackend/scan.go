package dynamodbbackend

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

const (
	// defaultScan and maxScan are how many items a page looks at.
	defaultScan = 500
	maxScan     = 2000
	// maxCursorKey is the longest partition key (Developer Guide, "Quotas").
	maxCursorKey = 2048
)

// errCursor refuses a cursor that no Scan returned.
var errCursor = errors.New("unknown cursor: start again with an empty one")

// Scan implements [backends.Scanner] with the operation of that name, which reads
// the whole table, and is paid for it, whatever the prefix. A cursor is the last
// key of the page, Base64; it stays usable as long as the table is.
func (b *Backend) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	if limit <= 0 {
		limit = defaultScan
	}
	in := &dynamodb.ScanInput{
		TableName:                &b.table,
		ConsistentRead:           &b.consistent,
		Limit:                    aws.Int32(int32(min(limit, maxScan))),
		ProjectionExpression:     aws.String("#k, #x"),
		ExpressionAttributeNames: map[string]string{"#k": b.attr.Key, "#x": b.attr.Expiry},
	}
	if prefix != "" {
		in.FilterExpression = aws.String("begins_with(#k, :prefix)")
		in.ExpressionAttributeValues = attributes{":prefix": text(prefix)}
	}
	type page struct {
		keys []string
		next string
	}
	p, err := do(ctx, b, "scan", func(ctx context.Context) (page, error) {
		var err error
		if in.ExclusiveStartKey, err = b.startKey(cursor); err != nil {
			return page{}, &backends.Error{Op: "scan", Backend: backendType, Kind: backends.Permanent, Err: err}
		}
		out, err := b.client.Scan(ctx, in, guarded(scanAnswer)...)
		if err != nil {
			return page{}, err
		}
		next, err := b.cursor(out.LastEvaluatedKey)
		return page{b.liveKeys(out.Items), next}, err
	})
	return p.keys, p.next, err
}

// liveKeys returns the keys of entries: neither locks nor what has expired.
func (b *Backend) liveKeys(items []attributes) []string {
	var keys []string
	for _, it := range items {
		key, ok := it[b.attr.Key].(*types.AttributeValueMemberS)
		if !ok || backends.CheckKey(key.Value) != nil {
			continue
		}
		if _, err := b.left(it); err == nil {
			keys = append(keys, key.Value)
		}
	}
	return keys
}

func (b *Backend) cursor(last attributes) (string, error) {
	if len(last) == 0 {
		return "", nil
	}
	key, ok := last[b.attr.Key].(*types.AttributeValueMemberS)
	if !ok || key.Value == "" {
		return "", errItem
	}
	return base64.RawURLEncoding.EncodeToString([]byte(key.Value)), nil
}

func (b *Backend) startKey(cursor string) (attributes, error) {
	if cursor == "" {
		return nil, nil
	}
	key, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(key) > maxCursorKey {
		return nil, errCursor
	}
	return b.key(string(key)), nil
}
