package dynamodbbackend_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Rule: Close waits for no call. One that is under way gets its answer or ends with
// its context; one that comes later is ErrClosed and sends nothing.
func TestCloseWhileTheServerIsSilent(t *testing.T) {
	arrived, answer := make(chan struct{}, 2), make(chan struct{})
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		arrived <- struct{}{}
		<-answer
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	b := over(t, connect(t, server.URL), "table", nil)
	answered, cancelled := make(chan error, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, err := b.Get(t.Context(), "k"); answered <- err }()
	go func() { _, err := b.Get(ctx, "k"); cancelled <- err }()
	<-arrived
	<-arrived

	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("Close = %v", err)
		}
	case <-time.After(patient / 2):
		t.Error("Close waits for a call")
	}
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrClosed) || requests.Load() != 2 {
		t.Errorf("Get after Close = %v with %d requests, want ErrClosed and none", err, requests.Load()-2)
	}
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("the call that was cancelled after Close = %v", err)
	}
	close(answer)
	if err := <-answered; !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("the call that was answered after Close = %v, want ErrNotFound", err)
	}
}
