package dynamodbbackend

import (
	"context"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"
)

// errAnswerSize and errChecksum end the reading of an answer that is larger than
// DynamoDB's can be, or is not what DynamoDB sent.
var (
	errAnswerSize = errors.New("the answer is larger than DynamoDB's can be")
	errChecksum   = errors.New("the answer does not match its checksum")
)

// Limits of the body of an answer in bytes. JSON holds binary as Base64 and takes
// more for small values; an item has 400 KB, the answer of a batch 16 MB, a page of
// Scan 1 MB.
const (
	itemAnswer  = 2 << 20
	batchAnswer = 24 << 20
	scanAnswer  = 4 << 20
)

// guarded makes one call of the client obey this package: one attempt, on a
// connection that is reset when the call is abandoned, with a bounded answer.
func guarded(limit int64) []func(*dynamodb.Options) {
	return []func(*dynamodb.Options){func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}
		o.APIOptions = append(o.APIOptions, once)
		o.HTTPClient = guard{o.HTTPClient, limit}
		o.EnableAcceptEncodingGzip = false
		o.DisableValidateResponseChecksum = true // body does: the SDK (1.73) logs a mismatch and goes on
	}}
}

// forItem is guarded for one item.
var forItem = guarded(itemAnswer)

// once spares a call what the SDK does for the attempts after the first: it copies
// the request, and numbers it for the server to tell them apart.
func once(stack *middleware.Stack) error {
	_, _ = stack.Build.Remove((*awsmiddleware.ClientRequestID)(nil).ID())
	m, _ := stack.Finalize.Get((*retry.Attempt)(nil).ID())
	theirs, ok := m.(*retry.Attempt)
	if !ok {
		return nil
	}
	ours := retry.NewAttemptMiddleware(aws.NopRetryer{}, func(request any) any { return request })
	ours.LogAttempts, ours.OperationMeter = theirs.LogAttempts, theirs.OperationMeter
	ours.ClientSkew, ours.DisableClockSkewCorrection = theirs.ClientSkew, theirs.DisableClockSkewCorrection
	_, err := stack.Finalize.Swap(ours.ID(), ours)
	return err
}

type guard struct {
	inner dynamodb.HTTPClient
	limit int64
}

// Do resets the connection of a request whose context ends before the answer
// begins.
func (g guard) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	w := new(wire)
	stop := context.AfterFunc(ctx, w.abort)
	resp, err := g.inner.Do(req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { w.use(info.Conn) },
	})))
	stop()
	w.answered()
	if err != nil {
		return resp, err
	}
	if resp.ContentLength > g.limit {
		_ = resp.Body.Close()
		return nil, errAnswerSize
	}
	resp.Body = &body{ReadCloser: resp.Body, left: g.limit, want: resp.Header.Get("X-Amz-Crc32")}
	return resp, nil
}

// wire is the connection of one request.
type wire struct {
	mu        sync.Mutex
	tcp       *net.TCPConn
	abandoned bool
	done      bool
}

// use makes every way to close the connection a reset, also the one of net/http,
// which may be faster than abort.
func (w *wire) use(conn net.Conn) {
	tcp := exclusive(conn)
	if tcp == nil {
		return
	}
	_ = tcp.SetLinger(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tcp = tcp
	if w.abandoned {
		_ = tcp.Close()
	}
}

// abort closes the connection below TLS, whose own close would first wait to
// write.
func (w *wire) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.abandoned = !w.done; w.abandoned && w.tcp != nil {
		_ = w.tcp.Close()
	}
}

func (w *wire) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
}

// exclusive returns the TCP connection below conn, or nil if there is none or if
// other requests share it.
func exclusive(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case *tls.Conn:
			if c.ConnectionState().NegotiatedProtocol == "h2" {
				return nil
			}
			conn = c.NetConn()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// body fails after left bytes, or at its end if its CRC-32 is not the one that the
// server announced, or if it is empty: DynamoDB answers at least {}, and nothing
// must not pass for a miss or a write.
type body struct {
	io.ReadCloser
	left  int64
	want  string
	sum   uint32
	begun bool
}

func (b *body) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.begun = b.begun || n > 0
	if b.want != "" {
		b.sum = crc32.Update(b.sum, crc32.IEEETable, p[:n])
	}
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return n, errAnswerSize
	case !errors.Is(err, io.EOF):
		return n, err
	case !b.begun:
		return n, io.ErrUnexpectedEOF
	case b.want != "" && b.want != strconv.FormatUint(uint64(b.sum), 10):
		return n, errChecksum
	}
	return n, err
}
