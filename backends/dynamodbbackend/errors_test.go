package dynamodbbackend_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
)

// everyCall runs each operation of b on a key and returns its error by name.
func everyCall(ctx context.Context, b *dynamodbbackend.Backend) map[string]error {
	const key = "canary-key"
	value := []byte("canary-value")
	errs := map[string]error{"Set": b.Set(ctx, key, value, time.Minute), "Health": b.Health(ctx).Err}
	_, errs["Get"] = b.Get(ctx, key)
	_, errs["GetEntry"] = b.GetEntry(ctx, key)
	_, errs["Delete"] = b.Delete(ctx, key)
	_, errs["Exists"] = b.Exists(ctx, key)
	_, errs["TTL"] = b.TTL(ctx, key)
	_, errs["Touch"] = b.Touch(ctx, key, time.Minute)
	_, errs["Lock"] = b.Lock(ctx, key, time.Minute)
	_, errs["Unlock"] = b.Unlock(ctx, key, "canary-token")
	_, errs["Swap"] = b.Swap(ctx, key, value, value)
	_, _, errs["Scan"] = b.Scan(ctx, key, "", 0)
	errs["GetMany"] = b.GetMany(ctx, []string{key})[0].Err
	errs["SetMany"] = b.SetMany(ctx, []backends.Item{{Key: key, Value: value, TTL: time.Minute}})[0]
	errs["DeleteMany"] = b.DeleteMany(ctx, []string{key})[0].Err
	return errs
}

// failed checks kind and text of an error.
func failed(t *testing.T, what string, err error, kind backends.Kind) *backends.Error {
	t.Helper()
	var e *backends.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Backend != "dynamodb" {
		t.Errorf("%s = %v, want kind %v", what, err, kind)
		return &backends.Error{}
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		for _, text := range []string{cause.Error(), fmt.Sprintf("%+v", cause), fmt.Sprintf("%#v", cause)} {
			if strings.Contains(text, "canary") || strings.Contains(text, accessKey) {
				t.Errorf("%s tells too much: %s", what, text)
			}
		}
	}
	return e
}

// Rule: an answer becomes a kind and a code; its message, which can repeat the
// request, goes no further, and the error of the SDK stays reachable.
func TestServiceAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   backends.Kind
	}{
		{400, "AccessDeniedException", backends.Auth},
		{400, "UnrecognizedClientException", backends.Auth},
		{400, "ExpiredTokenException", backends.Auth},
		{400, "InvalidSignatureException", backends.Auth},
		{403, "canary canary", backends.Auth},
		{400, "ResourceNotFoundException", backends.Permanent},
		{400, "ValidationException", backends.Permanent},
		{400, "SomethingNew", backends.Permanent},
		{400, "LimitExceededException", backends.Transient},
		{400, "TransactionConflictException", backends.Transient},
		{500, "InternalServerError", backends.Transient},
		{503, "ServiceUnavailable", backends.Transient},
		{502, "SomethingNew", backends.Transient},
		{429, "SomethingNew", backends.Transient},
		{413, "SomethingNew", backends.TooLarge},
	} {
		t.Run(c.code, func(t *testing.T) {
			a := refusal(c.status, c.code, "canary-key canary-value")
			b := a.backend(t)
			for name, err := range everyCall(t.Context(), b) {
				e := failed(t, name, err, c.kind)
				var answer *dynamodbbackend.ServiceError
				var api smithy.APIError
				if !errors.As(err, &answer) || answer.Status != c.status || answer.RequestID != "REQUEST1" || e.RetryAfter != 0 {
					t.Errorf("%s = %v: %+v", name, err, answer)
				}
				if !errors.As(err, &api) || !strings.Contains(api.ErrorMessage(), "canary-key") {
					t.Errorf("%s hides the error of the SDK", name)
				}
			}
		})
	}
}

// Rule: a throttled call is Transient, says how long to wait, and is not sent
// again but in a batch and once for a lock.
func TestThrottling(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"} {
		for header, wait := range map[string]time.Duration{"Retry-After: 7": 7 * time.Second, "X-Amz-Retry-After: 1500": 1500 * time.Millisecond,
			"Retry-After: 4000000000": 0, "Retry-After: 2000000000": time.Hour, "Retry-After: -1": 0, "Retry-After: soon": 0} {
			name, value, _ := strings.Cut(header, ": ")
			a := refusal(400, code, "canary", name, value)
			b := a.backend(t)
			if err := b.Set(t.Context(), "k", nil, time.Minute); failed(t, code, err, backends.Transient).RetryAfter != wait {
				t.Errorf("%s, %s: Set = %v", code, header, err)
			}
			if n := a.calls.Load(); n != 1 {
				t.Errorf("%d requests for one call", n)
			}
		}
	}
}

// Rule: what is not an answer of DynamoDB is an error, whatever it is, and is
// bounded before it is read.
func TestLyingServer(t *testing.T) {
	huge := `{"Item":{"value":{"B":"` + strings.Repeat("A", 3<<20) + `"}}}`
	crc := http.Header{"X-Amz-Crc32": {strconv.Itoa(int(crc32.ChecksumIEEE([]byte("{}"))) ^ 1)}}
	for name, a := range map[string]*answer{
		"garbage":              {status: 200, body: "\x00\x01 canary"},
		"a page":               {status: 200, body: "<html>canary</html>"},
		"an error page":        {status: 503, body: "<html>canary</html>"},
		"nothing":              {status: 200},
		"no content":           {status: 204},
		"truncated":            {status: 200, body: `{"Item":{"value":{"B":"AAAA`},
		"a redirect":           {status: 302, header: http.Header{"Location": {"http://127.0.0.1:1/canary"}}},
		"not modified":         {status: 304},
		"a wrong checksum":     {status: 200, body: "{}", header: crc},
		"an announced giant":   {status: 200, body: "{}", length: 1 << 40},
		"a giant":              {status: 200, body: huge, length: -1},
		"a deep document":      {status: 200, body: `{"Item":{"value":` + strings.Repeat(`{"M":{"a":`, 50_000)},
		"bad Base64":           {status: 200, body: `{"Item":{"value":{"B":"*canary*"}}}`},
		"a value of no type":   {status: 200, body: `{"Item":{"value":{}}}`},
		"a string as value":    {status: 200, body: `{"Item":{"value":{"S":"canary"}}}`},
		"no value":             {status: 200, body: `{"Item":{"key":{"S":"canary"}}}`},
		"an expiry of letters": {status: 200, body: `{"Item":{"value":{"B":"AAAA"},"expires_ms":{"N":"canary"}}}`},
		"an item of no kind":   {status: 200, body: `{"Item":17}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.backend(t).Get(t.Context(), "k")
			var e *backends.Error
			if !errors.As(err, &e) {
				t.Fatalf("Get = %v, want a *backends.Error", err)
			}
			failed(t, "Get", err, e.Kind)
			if e.Kind != backends.Transient && !strings.Contains(err.Error(), "is not one of this package") && a.status < 300 {
				t.Errorf("Get = %v", err)
			}
		})
	}
	for _, a := range []*answer{{status: 200}, {status: 204}, {status: 200, body: "<html>"}, {status: 200, body: `{"x`}} {
		if err := a.backend(t).Set(t.Context(), "k", []byte("v"), time.Minute); !backends.IsOutage(err) {
			t.Errorf("Set answered %d %q = %v, want an error", a.status, a.body, err)
		}
	}
}

// Rule: items that were not asked for are ignored, those that are left out are
// misses, and a refusal for a condition that holds is no endless loop.
func TestLyingAnswersToBatchesAndConditions(t *testing.T) {
	a := &answer{status: 200, body: `{"Responses":{"canary-table":[{"key":{"S":"other"},"value":{"B":"AAAA"}},{"key":{"N":"1"}},{}]},
		"UnprocessedKeys":{"canary-table":{"Keys":[{"key":{"S":"another"}},{}]}}}`}
	for _, r := range a.backend(t).GetMany(t.Context(), []string{"a", "b"}) {
		if !errors.Is(r.Err, backends.ErrNotFound) {
			t.Errorf("GetMany = %+v", r)
		}
	}
	refused := `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"canary"`
	for _, body := range []string{refused + `}`, refused + `,"Item":{"stamp":{"N":"1"}}}`} {
		a := &answer{status: 400, body: body}
		failed(t, "Set", a.backend(t).Set(t.Context(), "k", nil, time.Minute), backends.Transient)
	}
	a = &answer{status: 200, body: `{"Items":[],"LastEvaluatedKey":{"key":{"N":"1"}}}`}
	_, _, err := a.backend(t).Scan(t.Context(), "", "", 0)
	failed(t, "Scan", err, backends.Permanent)
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{}`, `{"Item":{"value":{"B":"AAAA"},"expires_ms":{"N":"99999999999999"}}}`, `{"Item":null}`, `{"Item":{"value":{"B":null}}}`,
		`{"Responses":{"t":[{"key":{"S":"k"},"value":{"B":""}}]},"UnprocessedKeys":{}}`, `{"__type":"x#ThrottlingException","message":"m"}`, ``, `[`} {
		f.Add(200, []byte(seed))
		f.Add(400, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		a := &answer{status: status, body: string(body)}
		b := a.backend(t)
		if v, err := b.Get(ctx, "k"); (v == nil) != (err != nil) {
			t.Errorf("Get = %d bytes (nil: %t), %v", len(v), v == nil, err)
		}
		b.GetMany(ctx, []string{"k"})
		_ = b.Set(ctx, "k", nil, time.Minute)
		_, _, _ = b.Scan(ctx, "", "", 0)
	})
}

// Rule: credentials that are missing are Auth, with a remedy and without a
// request; an issuer that cannot be reached is an outage.
func TestCredentials(t *testing.T) {
	a := &answer{status: 200, body: "{}"}
	b := over(t, connect(t, "http://127.0.0.1:1", func(o *dynamodb.Options) {
		o.HTTPClient = a
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("canary-secret in the file of canary")
		})
	}), "canary-table", nil)
	for name, err := range everyCall(t.Context(), b) {
		if e := failed(t, name, err, backends.Auth); e.Err != nil && !strings.Contains(e.Error(), "AWS_ACCESS_KEY_ID") {
			t.Errorf("%s = %v: no remedy", name, err)
		}
	}
	if n := a.calls.Load(); n != 0 {
		t.Errorf("%d requests without credentials", n)
	}
}

// Rule: networks that fail are told apart by what helps.
func TestNetworkFailures(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	talk, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	go func() {
		for {
			c, err := talk.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("canary is no HTTP\r\n\r\n"))
			_ = c.Close()
		}
	}()
	for _, c := range []struct {
		name, url string
		kind      backends.Kind
		text      string
	}{
		{"nobody listens", "http://" + closed.Addr().String(), backends.Transient, "refused"},
		{"no HTTP", "http://" + talk.Addr().String(), backends.Transient, ""},
		{"unknown certificate", secure.URL, backends.Permanent, "certificate"},
		{"http as https", strings.Replace(plain.URL, "http", "https", 1), backends.Permanent, "TLS"},
		{"https as http", strings.Replace(secure.URL, "https", "http", 1), backends.Permanent, "400"},
	} {
		b := over(t, connect(t, c.url), "canary-table", nil)
		_, err := b.Get(t.Context(), "canary-key")
		// A server that has answered and closes resets what is still being sent, and
		// with it its answer.
		for range 20 {
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				break
			}
			_, err = b.Get(t.Context(), "canary-key")
		}
		if failed(t, c.name, err, c.kind); err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Rule: the backend's own limit is kind Timeout, not an error of the context.
func TestOwnTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := over(t, connect(t, "http://"+l.Addr().String()), "table", &dynamodbbackend.Options{Timeout: 50 * time.Millisecond})
	for _, ctx := range []context.Context{t.Context(), context.Background()} {
		_, err := b.Get(ctx, "k")
		if failed(t, "Get", err, backends.Timeout); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get = %v looks like the caller's context", err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	client := connect(t, "http://127.0.0.1:1")
	long := strings.Repeat("x", 256)
	for what, call := range map[string]func() error{
		"no client":   func() error { _, err := dynamodbbackend.New(nil, "table", nil); return err },
		"no table":    func() error { _, err := dynamodbbackend.New(client, "", nil); return err },
		"a bad name":  func() error { _, err := dynamodbbackend.New(client, "canary/table", nil); return err },
		"a long name": func() error { _, err := dynamodbbackend.New(client, strings.Repeat("t", 1025), nil); return err },
		"same names": func() error {
			_, err := dynamodbbackend.New(client, "table", &dynamodbbackend.Options{Attributes: dynamodbbackend.Attributes{Key: "value"}})
			return err
		},
		"long names": func() error {
			_, err := dynamodbbackend.New(client, "table", &dynamodbbackend.Options{Attributes: dynamodbbackend.Attributes{Key: long}})
			return err
		},
		"negative time": func() error {
			_, err := dynamodbbackend.New(client, "table", &dynamodbbackend.Options{Timeout: -1})
			return err
		},
		"ensure":     func() error { return dynamodbbackend.EnsureTable(t.Context(), client, "canary table", nil) },
		"ensure nil": func() error { return dynamodbbackend.EnsureTable(t.Context(), nil, "table", nil) },
	} {
		var refused *dynamodbbackend.ConfigError
		if err := call(); !errors.As(err, &refused) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want a *ConfigError", what, err)
		}
	}
	if _, err := dynamodbbackend.New(client, "arn:aws:dynamodb:eu-central-1:123456789012:table/name", nil); err != nil {
		t.Errorf("an ARN: %v", err)
	}
	var _ dynamodbbackend.TableAPI = client
}
