package guard

import (
	"context"
	"errors"
	"io"
	"net/http"
)

var (
	// ErrTooLarge says that an answer is larger than Request.Limit.
	ErrTooLarge = errors.New("the answer is larger than the limit")
	errEncoding = errors.New("the answer is compressed, which was not asked for")
)

const (
	// firstBytes is the most that is allocated on the word of a server; a larger
	// buffer follows what has arrived.
	firstBytes = 1 << 20
	// keptBytes is what is kept of an answer outside the 200s, drainBytes what is
	// read of it so that its connection can serve others.
	keptBytes  = 4 << 10
	drainBytes = 64 << 10
	// inlineBytes is what can be read without a write to the connection, which
	// could block: HTTP/2 asks for more of a body after 4 KiB.
	inlineBytes = 2 << 10
)

// readBody reads the body and closes it.
func readBody(ctx context.Context, resp *http.Response, limit int) ([]byte, error) {
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300 && limit > 0
	if e := resp.Header.Get("Content-Encoding"); ok && e != "" && e != "identity" {
		drop(resp)
		return nil, errEncoding
	}
	if ok && resp.ContentLength > int64(limit) {
		drop(resp)
		return nil, ErrTooLarge
	}
	if !ok {
		limit = drainBytes
	}
	if resp.ContentLength >= 0 && resp.ContentLength <= inlineBytes || resp.ProtoMajor < 2 {
		return readAll(resp, limit, !ok)
	}
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := readAll(resp, limit, !ok)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.b, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drop gives up a body. Closing it can block behind a write to the connection.
func drop(resp *http.Response) { go resp.Body.Close() }

// readAll reads a body of at most limit bytes. Of one that is only drained,
// keptBytes are returned and an excess is no error.
func readAll(resp *http.Response, limit int, drain bool) ([]byte, error) {
	b := make([]byte, 0, expected(resp, limit))
	for {
		room := b[len(b):cap(b)]
		if len(room) == 0 {
			room = make([]byte, 1) // for the end, which HTTP/2 tells after the last byte
		}
		n, err := resp.Body.Read(room)
		if len(b) < cap(b) {
			b = b[:len(b)+n]
		} else {
			b = append(b, room[:n]...)
		}
		switch {
		case err == io.EOF && len(b) <= limit:
			_ = resp.Body.Close()
			return kept(b, drain), nil
		case len(b) > limit:
			drop(resp)
			if drain {
				return kept(b, drain), nil
			}
			return nil, ErrTooLarge
		case err != nil:
			drop(resp)
			return nil, err
		}
	}
}

// expected is the room that is made for a body.
func expected(resp *http.Response, limit int) int64 {
	switch {
	case resp.Request.Method == http.MethodHead:
		return 0
	case resp.ContentLength < 0:
		return 512
	}
	return min(resp.ContentLength, int64(limit)+1, firstBytes)
}

func kept(b []byte, drain bool) []byte {
	if drain {
		return b[:min(len(b), keptBytes)]
	}
	return b
}
