package iotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

// patience bounds what should happen at once; brief is how long a test watches
// that nothing happens.
const (
	patience = 10 * time.Second
	brief    = 50 * time.Millisecond
)

func TestStall(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		s.Inject(iotest.Fault{Kind: iotest.Stall})
		if _, err := c.try(within(t, brief), "GET", base+"a", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the end of the context", err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := c.try(within(t, patience), "PUT", base+"a", "x")
			failed <- err
		}()
		poll(t, func() bool { return len(s.Requests()) >= 2 })
		s.Heal()
		if err := <-failed; err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("after Heal: %v, want a reset", err)
		}
		c.want(404, "GET", base+"a", "")
	})
}

func TestExecuted(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		for _, executed := range []bool{false, true} {
			s.Inject(iotest.Fault{Kind: iotest.ResetStream, Times: 1, Executed: executed})
			if r, err := c.try(within(t, patience), "PUT", base+"a", "x"); err == nil {
				t.Fatalf("status %d, want no answer", r.status)
			}
			c.want(map[bool]int{false: 404, true: 200}[executed], "GET", base+"a", "")
		}
	})
}

func TestMatchAndTimes(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	s.Inject(iotest.Fault{Kind: iotest.Answer, Status: 503, RetryAfter: "7", Times: 2, Match: func(r iotest.Request) bool {
		return r.Method == "GET" && r.Endpoint == "ttl" && r.Key == "a:b"
	}})
	for range 2 {
		c.want(404, "GET", base+"a%3Ab", "")
		if r := c.want(503, "GET", base+"a%3Ab/ttl", ""); r.header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
		}
	}
	c.want(404, "GET", base+"a%3Ab/ttl", "")
}

func TestResetConn(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		c.want(404, "GET", base+"a", "")
		s.Inject(iotest.Fault{Kind: iotest.ResetConn, Times: 1})
		if _, err := c.try(within(t, patience), "POST", base+"a/lock", `{"timeout_ms": 5}`); err == nil {
			t.Fatal("the request was answered")
		}
		c.want(404, "GET", base+"a", "")
		if _, opened := s.Connections(); opened != 2 {
			t.Errorf("%d connections were opened, want a second one", opened)
		}
	})
}

// TestGoAway: a client may send again what GOAWAY says was not looked at, even if
// it is not idempotent; net/http's does.
func TestGoAway(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	c.want(404, "GET", base+"a", "")
	s.Inject(iotest.Fault{Kind: iotest.GoAway, Times: 1})
	c.want(200, "POST", base+"a/lock", `{"timeout_ms": 5}`)
	if _, opened := s.Connections(); opened != 2 {
		t.Errorf("%d connections were opened, want a second one", opened)
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests, want the lost one twice", n)
	}
}

func TestGoAwayAfter(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		s.Inject(iotest.Fault{Kind: iotest.GoAwayAfter, Times: 1})
		c.want(200, "PUT", base+"a", "x")
		poll(t, func() bool {
			c.want(200, "GET", base+"a", "")
			_, opened := s.Connections()
			return opened == 2
		})
	})
}

// TestGoAwayUnderLoad: a GOAWAY stands between the frames of other answers and
// breaks none of them.
func TestGoAwayUnderLoad(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	value := big(300_000)
	c.want(200, "PUT", base+"a", value)
	s.Inject(iotest.Fault{Kind: iotest.GoAway, Times: 20, Match: func(r iotest.Request) bool { return r.Method == "HEAD" }})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 20 {
				method, want := "GET", value
				if i%4 == 3 {
					method, want = "HEAD", ""
				}
				// The connection that went away drops what was under way on it.
				if r, err := c.try(within(t, patience), method, base+"a", ""); err == nil && (r.status != 200 || r.body != want) {
					t.Errorf("%s: %d with %d bytes", method, r.status, len(r.body))
				} else if err != nil && !strings.Contains(err.Error(), "GOAWAY") {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	all.Wait()
}

func TestHalf(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		c.want(200, "PUT", base+"a", big(1000))
		for _, kind := range []iotest.Kind{iotest.Half, iotest.HalfStall} {
			s.Inject(iotest.Fault{Kind: kind, Times: 1})
			r, err := c.try(within(t, 1500*time.Millisecond), "GET", base+"a", "")
			if r.status != 200 || len(r.body) != 500 || err == nil {
				t.Errorf("fault %d: status %d, %d bytes, %v; want half of them and an error", kind, r.status, len(r.body), err)
			}
			if stalled := errors.Is(err, context.DeadlineExceeded); stalled != (kind == iotest.HalfStall) {
				t.Errorf("fault %d: %v", kind, err)
			}
		}
		c.want(200, "GET", base+"a", "")
	})
}

func TestAnswers(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		for _, f := range []iotest.Fault{
			{Status: 429, RetryAfter: "soon"},
			{Status: 302, Header: http.Header{"Location": {"https://elsewhere.example/"}}},
			{Body: []byte("\x00garbage")},
			{Status: 502, Body: []byte("<html>")},
		} {
			f.Kind, f.Times = iotest.Answer, 1
			s.Inject(f)
			r := c.want(max(f.Status, 200), "GET", base+"a", "")
			if r.body != string(f.Body) || r.header.Get("Retry-After") != f.RetryAfter || r.header.Get("Location") != f.Header.Get("Location") {
				t.Errorf("%+v: %v %q", f, r.header, r.body)
			}
		}
	})
}

// TestGarbage: a client gets an error and finds a way back by itself.
func TestGarbage(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		c.want(200, "PUT", base+"a", "x")
		s.Inject(iotest.Fault{Kind: iotest.Garbage, Times: 1})
		if r, err := c.try(within(t, patience), "GET", base+"a", ""); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("status %d, %v, want an error of the protocol", r.status, err)
		}
		c.want(200, "GET", base+"a", "")
	})
}

// TestMaxStreams: net/http's client opens further connections for requests beyond
// what one carries.
func TestMaxStreams(t *testing.T) {
	s := start(t, &iotest.Options{MaxStreams: 3})
	c := newClient(t, s, true)
	c.want(404, "GET", base+"a", "")
	s.Inject(iotest.Fault{Kind: iotest.Stall})
	for range 6 {
		go func() { _, _ = c.try(t.Context(), "GET", base+"a", "") }()
	}
	poll(t, func() bool { return len(s.Requests()) == 7 })
	if _, opened := s.Connections(); opened < 2 {
		t.Errorf("%d connection carries 6 requests, want 3 at most", opened)
	}
}

// TestOversized: the server sends more than it says, and more than the client has
// room for, until the client leaves.
func TestOversized(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	s.Inject(iotest.Fault{Kind: iotest.Answer, Size: 1 << 40, Times: 1})
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL()+base+"a", nil)
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, 5<<20); err != nil || resp.ContentLength != -1 {
		t.Errorf("%d bytes of %d, %v", n, resp.ContentLength, err)
	}
}

func TestDelay(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	s.Inject(iotest.Fault{Kind: iotest.Delay, Delay: 2 * brief, Times: 1})
	began := time.Now()
	c.want(404, "GET", base+"a", "")
	if took := time.Since(began); took < 2*brief {
		t.Errorf("the answer came after %v, want %v", took, 2*brief)
	}
}

// TestBlackHole: open connections pass neither answers nor requests any more, new
// ones work.
func TestBlackHole(t *testing.T) {
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		c.want(404, "GET", base+"a", "")
		other := newClient(t, s, true)
		other.want(404, "GET", base+"a", "")
		s.Inject(iotest.Fault{Kind: iotest.Delay, Delay: brief, Times: 1})
		lost := make(chan error, 1)
		go func() {
			_, err := c.try(within(t, 5*brief), "GET", base+"a", "")
			lost <- err
		}()
		poll(t, func() bool { return len(s.Requests()) == 3 })
		s.BlackHole()
		if err := <-lost; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer came out of the black hole: %v", err)
		}
		if _, err := other.try(within(t, brief), "PUT", base+"a", "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request went through the black hole: %v", err)
		}
		newClient(t, s, true).want(404, "GET", base+"a", "")
	})
}

func TestPartition(t *testing.T) {
	s := start(t, nil)
	s.Partition()
	c := newClient(t, s, true)
	if _, err := c.try(within(t, brief), "GET", base+"a", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the end of the context", err)
	}
	s.Heal()
	newClient(t, s, true).want(404, "GET", base+"a", "")
}

// TestCloseEndsAll: Close returns although requests stall and connections are lost.
func TestCloseEndsAll(t *testing.T) {
	s := start(t, nil)
	lost := newClient(t, s, true)
	lost.want(404, "GET", base+"a", "")
	s.BlackHole()
	s.Inject(iotest.Fault{Kind: iotest.Stall})
	c := newClient(t, s, true)
	failed := make(chan error, 2)
	for _, c := range []*client{c, lost} {
		go func() {
			_, err := c.try(within(t, patience), "GET", base+"a", "")
			failed <- err
		}()
	}
	poll(t, func() bool { return len(s.Requests()) == 2 })
	s.Close()
	s.Close()
	for range 2 {
		if err := <-failed; err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a reset", err)
		}
	}
	if open, _ := s.Connections(); open != 0 {
		t.Errorf("%d connections are open", open)
	}
}

func TestRequests(t *testing.T) {
	s := start(t, nil)
	c := newClient(t, s, true)
	c.want(200, "PUT", base+"ns%3Aa%3Ab", "x", "X-CacheKit-L1-Hits: 3")
	c.want(404, "GET", "/v1/", "")
	r := s.Requests()
	if len(r) != 2 || r[0].Method != "PUT" || r[0].Endpoint != "value" || r[0].Key != "ns:a:b" || r[0].Proto != "HTTP/2.0" ||
		r[0].Header.Get("X-CacheKit-L1-Hits") != "3" || r[1].Endpoint != "" {
		t.Errorf("got %+v", r)
	}
	if text := fmt.Sprintf("%+v", r); strings.Contains(text, c.key) {
		t.Error("what was recorded holds the API key")
	}
}

func poll(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out")
		}
	}
}
