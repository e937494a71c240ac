package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Answers reports whether a Redis server at addr answers a PING.
func Answers(addr string) bool {
	_, err := respDo(addr, "", "PING")
	return err == nil
}

// respDo sends one command in RESP2 on a connection of its own. It is not a
// Redis client: the servers are driven without the library under test, whose
// pools log, retry and leave dialling goroutines behind.
func respDo(addr, password string, args ...any) (any, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	if password != "" {
		if _, err := respCall(conn, r, "AUTH", password); err != nil {
			return nil, err
		}
	}
	return respCall(conn, r, args...)
}

func respCall(w io.Writer, r *bufio.Reader, args ...any) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		text, ok := arg.([]byte)
		if !ok {
			text = fmt.Append(nil, arg)
		}
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(text), text)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, err
	}
	return respRead(r)
}

// respRead reads one reply: a string, an int64, nil or a []any.
func respRead(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reply %q: %w", line, err)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		text := make([]byte, n+2)
		_, err := io.ReadFull(r, text)
		return string(text[:n]), err
	case kind == '*':
		return respArray(r, int(n))
	}
	return nil, fmt.Errorf("reply of unknown type %q", line)
}

func respArray(r *bufio.Reader, n int) (any, error) {
	list := make([]any, n)
	for i := range list {
		v, err := respRead(r)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}
