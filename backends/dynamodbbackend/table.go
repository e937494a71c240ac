package dynamodbbackend

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
)

// TableAPI is what EnsureTable needs of a client; *dynamodb.Client has it.
type TableAPI interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
}

// tablePoll is the pause between two looks at a table that is being created.
const tablePoll = 200 * time.Millisecond

var (
	errSchema = errors.New("the table has another key than the string Options.Attributes.Key alone")
	errTTL    = errors.New("the table's TTL is on another attribute than Options.Attributes.TTL")
)

// EnsureTable creates the table if there is none, billed per request, waits until
// it is active and switches TTL on, for development and tests: production tables
// belong to whoever manages the infrastructure. A table that is there is checked
// and never changed but for its TTL. ctx bounds the whole, which takes some
// seconds on AWS. Of opts only Attributes matter.
func EnsureTable(ctx context.Context, client TableAPI, table string, opts *Options) error {
	o, err := opts.validate(table)
	if err != nil {
		return err
	}
	if client == nil {
		return &ConfigError{"the client is nil"}
	}
	if err := ensureTable(ctx, client, table, o.Attributes); err != nil {
		return fail(ctx, "ensure table", err)
	}
	return nil
}

func ensureTable(ctx context.Context, client TableAPI, table string, names Attributes) error {
	d, err := describe(ctx, client, table)
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		err = create(ctx, client, table, names)
	}
	for err == nil && (d == nil || d.TableStatus != types.TableStatusActive) {
		if d, err = describe(ctx, client, table); errors.As(err, &missing) {
			err = nil // not visible yet
		}
		if err == nil && (d == nil || d.TableStatus != types.TableStatusActive) && !sleep(ctx, tablePoll) {
			err = ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	if !fits(d, names) {
		return permanent(errSchema)
	}
	return ensureTTL(ctx, client, table, names)
}

func permanent(err error) error {
	return &backends.Error{Op: "ensure table", Backend: backendType, Kind: backends.Permanent, Err: err}
}

func describe(ctx context.Context, client TableAPI, table string) (*types.TableDescription, error) {
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		return nil, err
	}
	return out.Table, nil
}

func create(ctx context.Context, client TableAPI, table string, names Attributes) error {
	_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &table,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &names.Key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &names.Key, KeyType: types.KeyTypeHash}},
	})
	var other *types.ResourceInUseException
	if errors.As(err, &other) {
		return nil // somebody else creates it
	}
	return err
}

// fits reports whether the key of the table is the one that entries have.
func fits(d *types.TableDescription, names Attributes) bool {
	if len(d.KeySchema) != 1 || aws.ToString(d.KeySchema[0].AttributeName) != names.Key {
		return false
	}
	for _, a := range d.AttributeDefinitions {
		if aws.ToString(a.AttributeName) == names.Key {
			return a.AttributeType == types.ScalarAttributeTypeS
		}
	}
	return false
}

// ensureTTL switches TTL on. That fails if somebody else has just done it, hence
// the second look.
func ensureTTL(ctx context.Context, client TableAPI, table string, names Attributes) error {
	on, err := hasTTL(ctx, client, table, names)
	if on || err != nil {
		return err
	}
	_, err = client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &names.TTL, Enabled: aws.Bool(true)},
	})
	if err == nil {
		return nil
	}
	if on, again := hasTTL(ctx, client, table, names); on && again == nil {
		return nil
	}
	return err
}

// hasTTL reports whether the TTL of the table is on. On another attribute it is
// an error.
func hasTTL(ctx context.Context, client TableAPI, table string, names Attributes) (bool, error) {
	out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil || out.TimeToLiveDescription == nil {
		return false, err
	}
	d := out.TimeToLiveDescription
	if d.TimeToLiveStatus != types.TimeToLiveStatusEnabled && d.TimeToLiveStatus != types.TimeToLiveStatusEnabling {
		return false, nil
	}
	if aws.ToString(d.AttributeName) != names.TTL {
		return false, permanent(errTTL)
	}
	return true, nil
}
