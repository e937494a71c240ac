package iotest

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
)

// listener accepts TCP connections and hands them out as what is inside of TLS.
type listener struct {
	net.Listener
	config *tls.Config

	mu     sync.Mutex
	dark   bool // new connections pass nothing
	opened int
	links  map[*link]struct{}
}

func listen(addr string, a authority) (*listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: l, config: a.config(), links: map[*link]struct{}{}}, nil
}

// Accept returns a *conn whose handshake happens with its first read.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k := &link{TCPConn: c.(*net.TCPConn), owner: l, closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	k.dark = l.dark
	l.opened++
	l.links[k] = struct{}{}
	inner := tls.Server(k, l.config)
	return &conn{Conn: inner, tls: inner, link: k}, nil
}

func (l *listener) counts() (open, opened int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.links), l.opened
}

// darken makes every open connection pass nothing any more; future says whether
// that is so for new ones.
func (l *listener) darken(future bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = future
	for k := range l.links {
		k.darken()
	}
}

func (l *listener) lighten() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark = false
}

func (l *listener) abortAll() {
	l.mu.Lock()
	all := make([]*link, 0, len(l.links))
	for k := range l.links {
		all = append(all, k)
	}
	l.mu.Unlock()
	for _, k := range all {
		k.abort()
	}
}

// link is the TCP connection below TLS. Once it is dark, what the client sends is
// lost and so is what the server sends, and neither side is told.
type link struct {
	*net.TCPConn
	owner  *listener
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	dark bool
}

func (k *link) darken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dark = true
}

func (k *link) isDark() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dark
}

// Read returns nothing from a dark connection, not even its end.
func (k *link) Read(b []byte) (int, error) {
	n, err := k.TCPConn.Read(b)
	if k.isDark() {
		<-k.closed
		return 0, net.ErrClosed
	}
	return n, err
}

// Write drops what a dark connection is to send.
func (k *link) Write(b []byte) (int, error) {
	if k.isDark() {
		return len(b), nil
	}
	return k.TCPConn.Write(b)
}

// Close ends the connection with a FIN.
func (k *link) Close() error {
	err := net.ErrClosed
	k.once.Do(func() {
		k.owner.mu.Lock()
		delete(k.owner.links, k)
		k.owner.mu.Unlock()
		close(k.closed)
		err = k.TCPConn.Close()
	})
	return err
}

// abort ends it with an RST.
func (k *link) abort() {
	_ = k.SetLinger(0)
	_ = k.Close()
}

// connKey is the key of the *conn in a request's context.
type connKey struct{}

// conn is a connection inside of TLS. It knows where the frames of HTTP/2 end, so
// that a frame of ours can stand between those of net/http.
type conn struct {
	net.Conn
	tls  *tls.Conn
	link *link

	mu      sync.Mutex
	frame   frameScanner
	pending []byte
}

// Write passes frames on, and after the last whole one what inject left.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.Conn.Write(b)
	c.frame.scan(b[:n])
	if err == nil {
		c.flush()
	}
	return n, err
}

// inject sends bytes; on HTTP/2 as soon as none of net/http's frames is half sent,
// and not before the first, which has to be SETTINGS. It is for the handler of a
// request, when the handshake is over.
func (c *conn) inject(b []byte) {
	if !c.speaksHTTP2() {
		_, _ = c.Conn.Write(b)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, b...)
	c.flush()
}

func (c *conn) flush() {
	if len(c.pending) == 0 || !c.frame.between() {
		return
	}
	_, _ = c.Conn.Write(c.pending)
	c.pending = nil
}

// speaksHTTP2 is valid after the handshake.
func (c *conn) speaksHTTP2() bool { return c.tls.ConnectionState().NegotiatedProtocol == "h2" }

// frameScanner finds the ends of HTTP/2 frames: 24 bits of length, six bytes of
// type, flags and stream, and the payload (RFC 9113, 4.1).
type frameScanner struct {
	header [9]byte
	have   int // bytes of header
	left   int // bytes of payload
	seen   bool
}

func (f *frameScanner) between() bool { return f.seen && f.have == 0 && f.left == 0 }

func (f *frameScanner) scan(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == len(f.header) {
			f.have, f.seen = 0, true
			f.left = int(f.header[0])<<16 | int(binary.BigEndian.Uint16(f.header[1:]))
		}
	}
}

// goAway is a GOAWAY frame that says that no stream was looked at (RFC 9113, 6.8:
// type 7 on stream 0, last stream 0, NO_ERROR).
func goAway() []byte {
	return []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
}
