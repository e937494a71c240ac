package guard

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// dial connects to the origin, directly or through the proxy, and checks the
// address that the connection goes to.
func (t *Transport) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.ConnectTimeout)
	defer cancel()
	inner, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, t: t}
	if !t.remember(c) {
		_ = c.close()
		return nil, errClosed
	}
	return c, nil
}

func (t *Transport) connect(ctx context.Context) (net.Conn, error) {
	switch {
	case t.config.Dial != nil:
		return t.dialHook(ctx)
	case t.config.Proxy != nil:
		return t.dialProxy(ctx)
	}
	d := net.Dialer{Resolver: t.config.Resolver, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return refuse("no plain address")
		}
		return t.config.Rules.CheckAddr(to.Addr())
	}}
	return d.DialContext(ctx, "tcp", t.addr)
}

// dialHook checks the address after the fact; nothing has been sent by then.
func (t *Transport) dialHook(ctx context.Context) (net.Conn, error) {
	c, err := t.config.Dial(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	if _, ok := c.(admitted); ok {
		return c, nil
	}
	to, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		err = refuse("no plain address")
	} else {
		err = t.config.Rules.CheckAddr(to.AddrPort().Addr())
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

var errProxy = errors.New("the proxy refused the connection")

// dialProxy asks the proxy for a tunnel (RFC 9110, 9.3.6). The rules do not judge
// the proxy's own address: naming it allows it.
func (t *Transport) dialProxy(ctx context.Context) (net.Conn, error) {
	proxy := t.config.Proxy
	c, err := new(net.Dialer).DialContext(ctx, "tcp", hostPort(proxy))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		c = tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.config.RootCAs, ServerName: proxy.Hostname()})
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = tunnel(c, proxy, t.addr)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func tunnel(c net.Conn, proxy *url.URL, to string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header{}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := req.Write(c); err != nil {
		return err
	}
	// A buffer of one byte at a time reads nothing of what follows the answer.
	resp, err := http.ReadResponse(bufio.NewReaderSize(&headReader{c: c, left: maxHeaderBytes}, 1), req)
	if err != nil {
		return errProxy
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errProxy
	}
	return nil
}

// headReader returns single bytes, so that a bufio.Reader over it cannot read
// past the blank line, and not more of them than left.
type headReader struct {
	c    net.Conn
	left int
}

func (h *headReader) Read(b []byte) (int, error) {
	if h.left == 0 {
		return 0, errProxy
	}
	h.left--
	return h.c.Read(b[:1])
}

// dialTLS is dial with a handshake. protocols are offered by ALPN.
func (t *Transport) dialTLS(ctx context.Context, protocols ...string) (*tls.Conn, *conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.ConnectTimeout)
	defer cancel()
	raw, err := t.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	config := t.tls.Clone()
	config.NextProtos = protocols
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.close()
		return nil, nil, err
	}
	return c, raw, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
