package httpbackend_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
)

func authorize(_ context.Context, h http.Header) error {
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// stub is a server whose answer can be changed, and a backend on it.
func stub(t *testing.T, o *httpbackend.Options) (*httpbackend.Backend, *atomic.Pointer[http.HandlerFunc]) {
	t.Helper()
	var answer atomic.Pointer[http.HandlerFunc]
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	answer.Store(&ok)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	t.Cleanup(s.Close)
	if o == nil {
		o = &httpbackend.Options{StoreExpires: true}
	}
	o.PlainHTTP, o.PrivateNetwork = true, true
	return open(t, s.URL+"/{key}", o), &answer
}

func calls(b *httpbackend.Backend) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"get":       func(ctx context.Context) error { _, err := b.Get(ctx, "canary-key"); return err },
		"get entry": func(ctx context.Context) error { _, err := b.GetEntry(ctx, "canary-key"); return err },
		"set":       func(ctx context.Context) error { return b.Set(ctx, "canary-key", []byte("canary-value"), time.Minute) },
		"delete":    func(ctx context.Context) error { _, err := b.Delete(ctx, "canary-key"); return err },
		"exists":    func(ctx context.Context) error { _, err := b.Exists(ctx, "canary-key"); return err },
		"health":    func(ctx context.Context) error { return b.Health(ctx).Err },
	}
}

// Rule: every status has one meaning, Retry-After comes along, and the text of
// an error holds neither the body nor a header of the answer.
func TestStatus(t *testing.T) {
	kinds := map[int]backends.Kind{
		202: backends.Permanent, 206: backends.Permanent, 301: backends.Permanent, 304: backends.Permanent, 307: backends.Permanent,
		400: backends.Permanent, 401: backends.Auth, 403: backends.Auth, 405: backends.Permanent, 408: backends.Transient, 409: backends.Permanent,
		413: backends.TooLarge, 414: backends.Permanent, 418: backends.Permanent, 425: backends.Transient, 429: backends.Transient,
		500: backends.Transient, 501: backends.Permanent, 502: backends.Transient, 503: backends.Transient, 504: backends.Transient, 599: backends.Transient,
	}
	b, answer := stub(t, nil)
	for status, kind := range kinds {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("X-Canary", "canary")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "canary body")
		})
		answer.Store(&h)
		for op, call := range calls(b) {
			var e *backends.Error
			var s *httpbackend.StatusError
			err := call(t.Context())
			if !errors.As(err, &e) || e.Kind != kind || e.Op != op || e.Backend != "http" || e.RetryAfter != 7*time.Second || !errors.As(err, &s) || s.Code != status {
				t.Errorf("%s answered %d: %v, want %s", op, status, err, kind)
			} else if strings.Contains(err.Error(), "anary") {
				t.Errorf("%s answered %d: the error tells too much: %v", op, status, err)
			}
		}
	}
	for _, status := range []int{404, 410} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		answer.Store(&h)
		for op, call := range calls(b) {
			err := call(t.Context())
			switch op {
			case "get", "get entry":
				if !errors.Is(err, backends.ErrNotFound) {
					t.Errorf("%s answered %d: %v, want ErrNotFound", op, status, err)
				}
			case "set": // nothing was stored
				if err == nil {
					t.Errorf("set answered %d = nil", status)
				}
			default:
				if err != nil {
					t.Errorf("%s answered %d: %v", op, status, err)
				}
			}
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	answer.Store(&h)
	if _, err := b.Get(t.Context(), "k"); err == nil || errors.Is(err, backends.ErrNotFound) {
		t.Errorf("a read answered 204 = %v, want an error: it may be a miss or an empty value", err)
	}
}

// Rule: Options.Status changes the meaning of an answer.
func TestStatusOption(t *testing.T) {
	b, answer := stub(t, &httpbackend.Options{StoreExpires: true, Status: map[int]httpbackend.Outcome{
		204: httpbackend.Missing, 202: httpbackend.Success, 409: httpbackend.Transient, 404: httpbackend.Permanent,
	}})
	for status, want := range map[int]string{204: backends.ErrNotFound.Error(), 202: "", 409: "transient", 404: "permanent"} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		answer.Store(&h)
		_, err := b.Get(t.Context(), "k")
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d = %v, want %q", status, err, want)
		}
	}
}

// Rule: no redirect is followed, whatever the method: nothing arrives at the
// other host.
func TestRedirects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var arrived atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			arrived.Add(1)
			_ = c.Close()
		}
	}()
	b, answer := stub(t, &httpbackend.Options{Credential: httpbackend.Bearer(token)})
	for _, status := range []int{301, 302, 303, 307, 308} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+l.Addr().String()+"/", status)
		})
		answer.Store(&h)
		for op, call := range calls(b) {
			var e *backends.Error
			if err := call(t.Context()); !errors.As(err, &e) || e.Kind != backends.Permanent || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("%s answered %d = %v", op, status, err)
			}
		}
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d connections arrived at the other host", n)
	}
}

// Rule: headers, credential and hook are sent with every request, the hook's
// failure is an Auth failure whose text stays hidden, and it cannot break the
// bounds of a call.
func TestAuthorize(t *testing.T) {
	hook := atomic.Pointer[func(context.Context, http.Header) error]{}
	set := func(f func(context.Context, http.Header) error) { hook.Store(&f) }
	set(authorize)
	b, answer := stub(t, &httpbackend.Options{
		StoreExpires: true, Header: http.Header{"x-tenant": {"acme"}}, Credential: httpbackend.SecretHeader("x-api-key", token),
		Authorize: func(ctx context.Context, h http.Header) error { return (*hook.Load())(ctx, h) },
	})
	var seen atomic.Int64
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+token && r.Header.Get("X-Api-Key") == token && r.Header.Get("X-Tenant") == "acme" {
			seen.Add(1)
		}
	})
	answer.Store(&h)
	for op, call := range calls(b) {
		before := seen.Load()
		if err := call(t.Context()); err != nil || seen.Load() != before+1 {
			t.Errorf("%s: %v, the headers arrived: %t", op, err, seen.Load() > before)
		}
	}
	cause := errors.New("canary of the hook")
	for name, f := range map[string]func(context.Context, http.Header) error{
		"fails":  func(context.Context, http.Header) error { return cause },
		"panics": func(context.Context, http.Header) error { panic("canary") },
	} {
		set(f)
		for op, call := range calls(b) {
			err := call(t.Context())
			var e *backends.Error
			if !errors.As(err, &e) || e.Kind != backends.Auth || strings.Contains(err.Error(), "canary") || name == "fails" && !errors.Is(err, cause) {
				t.Errorf("%s when the hook %s = %v", op, name, err)
			}
		}
	}
	release := make(chan struct{})
	defer close(release)
	set(func(context.Context, http.Header) error { <-release; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hook that blocks = %v", err)
	}
}

// Rule: no way of printing shows a credential, also inside Options.
func TestCredentialDoesNotPrint(t *testing.T) {
	for _, c := range []httpbackend.Credential{httpbackend.Bearer(token), httpbackend.Basic("user", token), httpbackend.SecretHeader("X-Key", token)} {
		o := httpbackend.Options{Credential: c}
		text, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, holder := range []any{c, &c, o, &o, []httpbackend.Credential{c}} {
				out := fmt.Sprintf(verb, holder) + string(text) + c.LogValue().String()
				if strings.Contains(out, token) || strings.Contains(out, fmt.Sprintf("%x", token)) || strings.Contains(out, "dXNlcj") {
					t.Errorf("%s of %T prints the credential", verb, holder)
				}
			}
		}
	}
}
