package dynamodbbackend_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/goleak"

	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accessKey = "AKIDEXAMPLE"
	secretKey = "canary-secret-key"
	session   = "canary-session-token"
)

// connect returns a client of the endpoint whose connections end with the test.
func connect(tb testing.TB, url string, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return dynamodb.New(dynamodb.Options{
		Region:       "eu-central-1",
		BaseEndpoint: aws.String(url),
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, session),
		HTTPClient:   &http.Client{Transport: transport},
	}, opts...)
}

var tables atomic.Int64

// newTable creates a table of its own for the test.
func newTable(tb testing.TB, client *dynamodb.Client, opts *dynamodbbackend.Options) string {
	tb.Helper()
	name := fmt.Sprintf("cachekit-%d", tables.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patient)
	defer cancel()
	if err := dynamodbbackend.EnsureTable(ctx, client, name, opts); err != nil {
		tb.Fatalf("EnsureTable: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patient)
		defer cancel()
		if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			tb.Errorf("delete table: %v", err)
		}
	})
	return name
}

// patient allows for a machine that is busy with other tests.
const patient = time.Minute

func over(tb testing.TB, client dynamodbbackend.API, table string, opts *dynamodbbackend.Options) *dynamodbbackend.Backend {
	tb.Helper()
	o := dynamodbbackend.Options{Timeout: patient}
	if opts != nil {
		o = *opts
	}
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	b, err := dynamodbbackend.New(client, table, &o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = b.Close() })
	return b
}

// subject is a table with a client and a backend on it.
type subject struct {
	*dynamodbbackend.Backend
	server *testenv.DynamoServer
	client *dynamodb.Client
	table  string
}

func onServer(tb testing.TB, s *testenv.DynamoServer, opts *dynamodbbackend.Options) subject {
	tb.Helper()
	client := connect(tb, s.URL())
	table := newTable(tb, client, opts)
	return subject{over(tb, client, table, opts), s, client, table}
}

func set(tb testing.TB, b *dynamodbbackend.Backend, key, value string) {
	tb.Helper()
	if err := b.Set(tb.Context(), key, []byte(value), time.Minute); err != nil {
		tb.Fatalf("Set: %v", err)
	}
}

func want(tb testing.TB, b *dynamodbbackend.Backend, key, value string) {
	tb.Helper()
	got, err := b.Get(tb.Context(), key)
	if err != nil || string(got) != value {
		tb.Fatalf("Get = %q, %v, want %q", got, err, value)
	}
}
