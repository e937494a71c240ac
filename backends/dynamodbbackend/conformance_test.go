package dynamodbbackend_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/backendtest"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// maxValue is the largest value under the key "canary-key:k" of the suite: 400 KB
// without the names, the key, and the three numbers.
const maxValue = 400<<10 - len("key"+"canary-key:k"+"value"+"expires"+"expires_ms"+"stamp") - 3*12

func conformanceNew(t *testing.T, s *testenv.DynamoServer) {
	conform(t, s, func(tb testing.TB, table, url string) *dynamodbbackend.Backend {
		return over(tb, connect(tb, url), table, nil)
	})
}

func conformanceOpen(t *testing.T, s *testenv.DynamoServer) {
	conform(t, s, func(tb testing.TB, table, url string) *dynamodbbackend.Backend {
		environment(tb, url)
		b, err := dynamodbbackend.Open(tb.Context(), table, nil)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	})
}

// environment is all that Open reads.
func environment(tb testing.TB, url string) {
	tb.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey,
		"AWS_SESSION_TOKEN": session, "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		tb.Setenv(name, value)
	}
}

func conform(t *testing.T, s *testenv.DynamoServer, open func(tb testing.TB, table, url string) *dynamodbbackend.Backend) {
	t.Helper()
	admin := connect(t, s.URL())
	backendtest.Run(t, backendtest.Harness{
		Want:     []string{"Batcher", "EntryReader", "TTLer", "Locker", "Scanner", "Swapper", "Replacer", "KeyRuler"},
		MaxValue: maxValue,
		Open: func(tb testing.TB) backendtest.Subject {
			table := newTable(tb, admin, nil)
			proxy := testenv.Proxy(tb, s.Addr())
			return backendtest.Subject{
				Backend: open(tb, table, "http://"+proxy.Addr()),
				Other:   func(tb testing.TB) backends.Backend { return open(tb, table, s.URL()) },
				Stall:   proxy.Stall,
				Resume:  proxy.Resume,
				Kill:    proxy.Kill,
				Raw:     func(tb testing.TB, key string) []byte { return raw(tb, admin, table, key) },
				Secrets: []string{accessKey, secretKey, session},
			}
		},
	})
}

func raw(tb testing.TB, client *dynamodb.Client, table, key string) []byte {
	tb.Helper()
	out, err := client.GetItem(tb.Context(), &dynamodb.GetItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: key}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if v, ok := out.Item["value"].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	return nil
}
