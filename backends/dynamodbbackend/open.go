package dynamodbbackend

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// API is what a Backend needs of a client; *dynamodb.Client has it. The functions
// passed with each call switch retries off and guard the connection: an
// implementation that ignores them loses what the package documentation says of
// abandoned calls.
type API interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	BatchWriteItem(context.Context, *dynamodb.BatchWriteItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// New returns a Backend on a table, by name or ARN, over a client that stays the
// caller's: Close does not close its connections. It makes no round trip. For
// many callers the client's HTTP transport wants MaxIdleConnsPerHost at least as
// high as their number; the SDK's default is 10. The error is a [*ConfigError].
func New(client API, table string, opts *Options) (*Backend, error) {
	o, err := opts.validate(table)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, &ConfigError{"the client is nil"}
	}
	return &Backend{
		client: client, table: table, attr: o.Attributes, consistent: !o.EventualReads, timeout: o.Timeout,
		stampName: map[string]string{"#s": o.Attributes.Stamp},
	}, nil
}

// maxIdle is how many idle connections Open's client keeps.
const maxIdle = 128

// Open returns a Backend on a table with a client of its own, configured as the
// AWS SDK configures itself: environment, shared files, roles
// (config.LoadDefaultConfig). It reads once from the table, so that missing
// credentials or a missing table show here; ctx bounds the construction alone.
func Open(ctx context.Context, table string, opts *Options) (*Backend, error) {
	if _, err := opts.validate(table); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return nil, ended
		}
		return nil, &ConfigError{"the AWS configuration does not load: check the AWS_ variables of the environment and the shared config files"}
	}
	if cfg.Region == "" {
		return nil, &ConfigError{"no AWS region: set AWS_REGION, or region in the shared config file"}
	}
	transport := newTransport(cfg)
	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.HTTPClient = &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	b, err := New(client, table, opts)
	if err != nil {
		return nil, err
	}
	b.release = transport.CloseIdleConnections
	if err := b.Health(ctx).Err; err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// newTransport keeps what the configuration says of roots and proxies. HTTP/1.1
// because a connection that is shared cannot be reset for one call.
func newTransport(cfg aws.Config) *http.Transport {
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		client = awshttp.NewBuildableClient()
	}
	t := client.GetTransport()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.DisableCompression = true
	t.MaxIdleConns, t.MaxIdleConnsPerHost = maxIdle, maxIdle
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}
