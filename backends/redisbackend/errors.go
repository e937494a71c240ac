package redisbackend

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends"
)

// backendType is what errors and health reports call this storage.
const backendType = "redis"

// ServerError is the refusal of a Redis server, reduced to its code: the text
// after it can repeat a command with its key and value.
type ServerError struct {
	// Code is the first word of the answer in capitals: "OOM", "WRONGTYPE", ...
	Code string
}

// Error names the code.
func (e *ServerError) Error() string {
	if hint := hints[e.Code]; hint != "" {
		return "server answered " + e.Code + ": " + hint
	}
	return "server answered " + e.Code
}

// hints are fixed texts beside the codes that a person has to act on.
var hints = map[string]string{
	"NOAUTH":    "it wants a password",
	"WRONGPASS": "user name or password is wrong",
	"NOPERM":    "the user may not run this command on this key",
	"OOM":       "its memory limit is reached and nothing can be evicted",
	"READONLY":  "it is a replica",
	"LOADING":   "it is loading its data",
	"WRONGTYPE": "the key holds no string",
	"MISCONF":   "it refuses writes because its snapshots fail",
}

// ClientError refuses a client that cannot keep the promises of this package.
// Its text says what to change.
type ClientError struct {
	Reason string
}

// Error says what to change.
func (e *ClientError) Error() string { return "redisbackend: unusable client: " + e.Reason }

// URLError refuses a URL. Its text never holds any part of the URL.
type URLError struct {
	Reason string
}

// Error says what is wrong with the URL.
func (e *URLError) Error() string { return "redisbackend: invalid URL: " + e.Reason }

// errReplyTooLarge and errReply end the reading of a reply that is out of bounds
// or not well formed; the connection goes with them. errValueTooLarge refuses a
// value before it is sent.
var (
	errReplyTooLarge = errors.New("the stored value is larger than Options.MaxValueBytes")
	errValueTooLarge = errors.New("the value is larger than Options.MaxValueBytes")
	errReply         = errors.New("malformed reply")
)

// fail turns an error of go-redis into one of the contract.
func fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var known *backends.Error
	switch {
	case errors.Is(err, redis.Nil):
		return backends.ErrNotFound
	case errors.Is(err, backends.ErrNotFound), errors.Is(err, backends.ErrLocked), errors.Is(err, backends.ErrClosed), errors.As(err, &known):
		return err
	}
	if ended := contextError(ctx, err); ended != nil {
		return ended
	}
	if errors.Is(err, redis.ErrClosed) {
		return backends.ErrClosed
	}
	kind, cause := classify(err)
	return &backends.Error{Op: op, Backend: backendType, Kind: kind, Err: cause}
}

// contextError returns the error of ctx if that is what ended the call. The
// socket's deadline can strike an instant before the timer of the context.
func contextError(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if d, ok := ctx.Deadline(); ok && isTimeout(err) && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

func classify(err error) (backends.Kind, error) {
	var answer redis.Error
	switch {
	case errors.Is(err, errReplyTooLarge):
		return backends.TooLarge, errReplyTooLarge
	case errors.As(err, &answer):
		return classifyAnswer(answer.Error())
	case errors.Is(err, redis.ErrPoolTimeout):
		return backends.Timeout, err
	case isTimeout(err):
		return backends.Timeout, err
	}
	if quotes(err) {
		return backends.Transient, errReply
	}
	return backends.Transient, err
}

// quotes reports whether err is one of go-redis's that repeat what the server said.
func quotes(err error) bool {
	var number *strconv.NumError
	text := err.Error()
	return errors.As(err, &number) || strings.Contains(text, "redis: ") && strings.Contains(text, `"`) || strings.Contains(text, "bigInt(")
}

// classifyAnswer reads the code of an error reply (Redis, "RESP protocol spec":
// the first word in upper case is the kind of error).
func classifyAnswer(text string) (backends.Kind, error) {
	code, rest, _ := strings.Cut(text, " ")
	answer := &ServerError{Code: code}
	if code == "" || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || len(code) > 32 {
		answer.Code = "an error without a code"
	}
	switch code {
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return backends.Auth, answer
	case "OOM":
		return backends.Overload, answer
	case "LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS", "MISCONF", "BUSY", "UNBLOCKED":
		return backends.Transient, answer
	case "ERR":
		return classifyPlain(rest), answer
	}
	return backends.Permanent, answer
}

// classifyPlain tells apart the errors that have no code of their own, by the
// texts of Redis 6 and 7 (networking.c, t_string.c, acl.c).
func classifyPlain(text string) backends.Kind {
	switch {
	case strings.HasPrefix(text, "max number of clients"):
		return backends.Transient
	case strings.HasPrefix(text, "string exceeds maximum allowed size"), strings.HasPrefix(text, "Protocol error: invalid bulk length"):
		return backends.TooLarge
	case strings.HasPrefix(text, "AUTH "), strings.HasPrefix(text, "Client sent AUTH"), strings.HasPrefix(text, "invalid password"):
		return backends.Auth
	}
	return backends.Permanent
}

// unknownOutcome reports whether a write that failed with err may have taken
// effect or still take it.
func unknownOutcome(err error) bool {
	if err == nil || errors.Is(err, backends.ErrNotFound) || errors.Is(err, backends.ErrLocked) || errors.Is(err, backends.ErrClosed) {
		return false
	}
	var answer *ServerError
	return !errors.As(err, &answer)
}
