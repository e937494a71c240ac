package memcachedbackend_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Rule: Close waits for no call. One that is under way gets its answer or ends with
// its context; one that comes later is ErrClosed and sends nothing.
func TestCloseWhileTheServerIsSilent(t *testing.T) {
	arrived, answer := make(chan struct{}, 2), make(chan struct{})
	addr, lines := liar(t, func(string) string {
		arrived <- struct{}{}
		<-answer
		return "END\r\n"
	})
	b := open(t, addr, nil)
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
	sent := len(lines())
	if _, err := b.Get(t.Context(), "k"); !errors.Is(err, backends.ErrClosed) {
		t.Errorf("Get after Close = %v, want ErrClosed", err)
	}
	if n := len(lines()); n != sent {
		t.Errorf("a call after Close sent %d lines", n-sent)
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
