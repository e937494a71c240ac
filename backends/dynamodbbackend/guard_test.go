package dynamodbbackend_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// slowClose is a connection that, like one of TLS, writes before it closes.
type slowClose struct{ net.Conn }

func (c slowClose) NetConn() net.Conn { return c.Conn }

func (c slowClose) Close() error {
	_, _ = c.Write(make([]byte, 64<<20)) // more than the other side's window
	return c.Conn.Close()
}

// Rule: an abandoned call does not wait until TLS has said goodbye to a peer that
// reads nothing, and its connection is reset at once.
func TestAbandonedCallDoesNotWaitForTheClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var peers []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			peers = append(peers, c)
		}
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return slowClose{c}, err
	}}
	b := over(t, connect(t, "http://"+l.Addr().String(), func(o *dynamodb.Options) { o.HTTPClient = &http.Client{Transport: transport} }), "table", nil)
	for _, cancelled := range []bool{false, true} {
		abandoned(t, cancelled, func(ctx context.Context) error { return b.Set(ctx, "k", nil, time.Minute) })
	}
	_ = l.Close()
	<-done
	for _, c := range peers {
		_ = c.Close()
	}
}
