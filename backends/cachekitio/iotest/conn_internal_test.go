package iotest

import (
	"bytes"
	"net"
	"slices"
	"testing"
)

// wire is a connection that keeps what is written.
type wire struct {
	net.Conn
	bytes.Buffer
}

func (w *wire) Write(b []byte) (int, error) { return w.Buffer.Write(b) }
func (w *wire) Read(b []byte) (int, error)  { return w.Buffer.Read(b) }

// TestInjectedFrame: wherever net/http's writes are cut, what is injected stands
// behind the first whole frame after it.
func TestInjectedFrame(t *testing.T) {
	first, second := frameOf(0), frameOf(300)
	sent := slices.Concat(first, second)
	for cut := range len(sent) {
		w := &wire{}
		c := &conn{Conn: w, pending: goAway()}
		for _, part := range [][]byte{sent[:cut], sent[cut:]} {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		want := slices.Concat(sent, goAway())
		if cut == len(first) {
			want = slices.Concat(first, goAway(), second)
		}
		if got := w.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("cut at %d: %d bytes, want GOAWAY between frames", cut, len(got))
		}
	}
}

// frameOf is a DATA frame of n bytes.
func frameOf(n int) []byte {
	return append([]byte{0, byte(n >> 8), byte(n), 0, 0, 0, 0, 0, 1}, bytes.Repeat([]byte{7}, n)...)
}
