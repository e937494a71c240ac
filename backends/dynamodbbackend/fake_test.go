package dynamodbbackend_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/cachekit-io/cachekit-go/backends/dynamodbbackend"
)

// answer is what a lying server says to every request.
type answer struct {
	status int
	header http.Header
	body   string
	length int64 // Content-Length, if not that of body
	calls  atomic.Int64
}

// Do implements dynamodb.HTTPClient.
func (a *answer) Do(req *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	header := a.header
	if header == nil {
		header = http.Header{}
	}
	length := int64(len(a.body))
	if a.length != 0 {
		length = a.length
	}
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: length, Request: req,
	}, nil
}

func (a *answer) backend(tb testing.TB) *dynamodbbackend.Backend {
	tb.Helper()
	return over(tb, connect(tb, "http://127.0.0.1:1", func(o *dynamodb.Options) { o.HTTPClient = a }), "canary-table", nil)
}

// refusal is an error answer of DynamoDB.
func refusal(status int, code, message string, header ...string) *answer {
	h := http.Header{"X-Amzn-Requestid": {"REQUEST1"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &answer{status: status, header: h, body: `{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"` + message + `"}`}
}
