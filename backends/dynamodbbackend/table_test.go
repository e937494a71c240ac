package dynamodbbackend_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// Rule: EnsureTable makes a usable table with TTL, may run many times and at once,
// and refuses a table that it would have to change.
func ensureTable(t *testing.T, server *testenv.DynamoServer) {
	client := connect(t, server.URL())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := dynamodbbackend.EnsureTable(t.Context(), client, "ensured", nil); err != nil {
				t.Errorf("EnsureTable: %v", err)
			}
		})
	}
	wg.Wait()
	out, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String("ensured")})
	if err != nil || out.TimeToLiveDescription.TimeToLiveStatus != types.TimeToLiveStatusEnabled || *out.TimeToLiveDescription.AttributeName != "expires" {
		t.Errorf("TTL = %+v, %v", out, err)
	}
	set(t, over(t, client, "ensured", nil), "k", "v")
	for _, other := range []dynamodbbackend.Attributes{{Key: "id"}, {TTL: "other"}} {
		err := dynamodbbackend.EnsureTable(t.Context(), client, "ensured", &dynamodbbackend.Options{Attributes: other})
		failed(t, "EnsureTable of a table that does not fit", err, backends.Permanent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := dynamodbbackend.EnsureTable(ctx, client, "ensured", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("EnsureTable, cancelled = %v", err)
	}
	failed(t, "EnsureTable, refused", dynamodbbackend.EnsureTable(t.Context(), connect(t, server.URL(), func(o *dynamodb.Options) {
		o.HTTPClient = refusal(400, "AccessDeniedException", "canary")
	}), "ensured", nil), backends.Auth)
}

// Rule: Open shows at once that region, credentials, table or server are missing.
func openTable(t *testing.T, server *testenv.DynamoServer) {
	environment(t, server.URL())
	_, err := dynamodbbackend.Open(t.Context(), "no-such-table", nil)
	if failed(t, "Open", err, backends.Permanent); err == nil || !strings.Contains(err.Error(), "EnsureTable") {
		t.Errorf("Open of a missing table = %v: no remedy", err)
	}
	_, err = over(t, connect(t, server.URL()), "no-such-table", nil).Get(t.Context(), "k")
	failed(t, "Get from a missing table", err, backends.Permanent)

	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dynamodbbackend.Open(over, "table", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Open, cancelled = %v", err)
	}
	var refused *dynamodbbackend.ConfigError
	if _, err := dynamodbbackend.Open(t.Context(), "", nil); !errors.As(err, &refused) {
		t.Errorf("Open without a table = %v", err)
	}
	t.Setenv("AWS_REGION", "")
	if _, err := dynamodbbackend.Open(t.Context(), "table", nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("Open without a region = %v", err)
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_PROFILE", "canary-profile")
	if _, err := dynamodbbackend.Open(t.Context(), "table", nil); !errors.As(err, &refused) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Open with an unknown profile = %v", err)
	}
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = dynamodbbackend.Open(t.Context(), "table", nil)
	failed(t, "Open without credentials", err, backends.Auth)
}

// Rule: no connection and no goroutine outlives Close and the calls that it finds
// under way (the package's tests end with a look at all goroutines).
func closeDuringCalls(t *testing.T, server *testenv.DynamoServer) {
	s := onServer(t, server, nil)
	p := testenv.Proxy(t, server.Addr())
	environment(t, "http://"+p.Addr())
	b, err := dynamodbbackend.Open(t.Context(), s.table, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.StallReplies()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrNotFound) {
				t.Errorf("Get under way at Close = %v", err)
			}
		})
	}
	testenv.Poll(t, 10*time.Second, "the calls to be under way", func() bool { return p.Conns() >= 8 })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	p.Resume()
	wg.Wait()
	testenv.Poll(t, 10*time.Second, "the connections to be closed", func() bool { return p.Conns() == 0 })
}
