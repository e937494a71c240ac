package cachekitio

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// Headers of requests (spec/saas-api.md, "Request Headers", PUT and the lock
// endpoints), as HTTP/2 sends them.
const (
	ttlHeader      = "x-cachekit-ttl"
	staleTTLHeader = "x-cachekit-stale-ttl"
	lockIDHeader   = "x-cachekit-lock-id"
)

// Types of bodies.
var (
	valueType = []string{"application/octet-stream"}
	jsonType  = []string{"application/json"}
)

const (
	root = "/v1/cache/"
	// maxJSONBytes bounds an answer that holds no value.
	maxJSONBytes = 4 << 10
)

// request is one call of the API.
type request struct {
	op, method string
	// target is the path below the root, escaped.
	target string
	body   []byte
	// content is the type of body, a header's values.
	content []string
	headers [2]header
	limit   int
}

type header struct{ name, value string }

// of begins a request about key. The error is a *backends.KeyError.
func of(op, method, key, resource string) (request, error) {
	if err := keyRules.Check(key); err != nil {
		return request{}, err
	}
	segment, err := pathkey.Encode(key)
	if err != nil {
		return request{}, &backends.KeyError{Reason: err.Error()}
	}
	return request{op: op, method: method, target: segment + resource, limit: maxJSONBytes}, nil
}

// send makes one call. It returns answers of every status; the error is the
// context's, ErrClosed or a *backends.Error.
func (b *Backend) send(ctx context.Context, r request) (*guard.Response, error) {
	resp, err := b.transport.Do(ctx, guard.Request{Method: r.method, Target: b.base + root + r.target, Header: b.headers(&r), Body: r.body, Limit: r.limit})
	if err == nil {
		return resp, nil
	}
	if errors.Is(err, guard.ErrTooLarge) && r.limit == maxJSONBytes {
		err = errAnswer
	}
	return nil, guard.Failure(ctx, backendType, r.op, err)
}

// ok is send for calls that nothing but a success answers.
func (b *Backend) ok(ctx context.Context, r request) (*guard.Response, error) {
	resp, err := b.send(ctx, r)
	if err == nil && !success(resp) {
		return nil, refusal(r.op, resp)
	}
	return resp, err
}

func success(resp *guard.Response) bool { return resp.Status >= 200 && resp.Status < 300 }

// found is send for calls that a 404 answers with "there is none".
func (b *Backend) found(ctx context.Context, r request) (*guard.Response, error) {
	resp, err := b.send(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case resp.Status == http.StatusNotFound:
		return nil, backends.ErrNotFound
	case resp.Status != http.StatusOK:
		return nil, refusal(r.op, resp)
	}
	return resp, nil
}

// timing sets the TTL of a PUT and, if there is one, its stale window. A PUT
// without a TTL stores an entry without expiry.
func (r *request) timing(ttl, stale int64) {
	if ttl > 0 {
		r.headers[0] = header{ttlHeader, strconv.FormatInt(ttl, 10)}
	}
	if stale > 0 {
		r.headers[1] = header{staleTTLHeader, strconv.FormatInt(stale, 10)}
	}
}
