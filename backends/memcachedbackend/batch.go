package memcachedbackend

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends"
)

// maxBatch is how many keys go to a server at once, so that a large batch does
// not hold up everybody else, and answers cannot fill the sockets while
// requests are still being sent.
const maxBatch = 1000

// errUnknown stands for a key of a batch that has no answer of its own: the
// error of the whole request holds.
var errUnknown = errors.New("memcachedbackend: no answer")

// GetMany implements [backends.Batcher] with one "get" for each 1000 keys of every
// server that holds some, at the same time. TTLs are unknown.
func (b *Backend) GetMany(ctx context.Context, keys []string) []backends.GetResult {
	results := make([]backends.GetResult, len(keys))
	batch{b, ctx, "get many", len(keys), false,
		func(i int) (string, error) { return keys[i], rules.Check(keys[i]) },
		func(i int, err error) { results[i].Err = err },
		func(se *session, of []int) ([]error, error) {
			wanted := keys
			if len(of) < len(keys) {
				wanted = make([]string, len(of))
				for j, i := range of {
					wanted[j] = keys[i]
				}
			}
			return se.getMany(wanted, b.opts.MaxValueBytes, func(j int) *[]byte { return &results[of[j]].Entry.Value })
		}}.run()
	return results
}

// SetMany implements [backends.Batcher] with one pipeline for each server.
func (b *Backend) SetMany(ctx context.Context, items []backends.Item) []error {
	errs := make([]error, len(items))
	batch{b, ctx, "set many", len(items), true,
		func(i int) (string, error) {
			return items[i].Key, b.checkItem("set many", items[i].Key, items[i].Value, items[i].TTL)
		},
		func(i int, err error) { errs[i] = err },
		func(se *session, of []int) ([]error, error) {
			return se.pipeline(len(of), "STORED", func(j int, head []byte) (_, body []byte) {
				it := &items[of[j]]
				head = append(append(append(head, "set "...), it.Key...), " 0 "...)
				head = append(strconv.AppendInt(head, int64(seconds(it.TTL)), 10), ' ')
				return append(strconv.AppendInt(head, int64(len(it.Value)), 10), "\r\n"...), it.Value
			})
		}}.run()
	return errs
}

// DeleteMany implements [backends.Batcher] with one pipeline for each server.
func (b *Backend) DeleteMany(ctx context.Context, keys []string) []backends.DeleteResult {
	results := make([]backends.DeleteResult, len(keys))
	batch{b, ctx, "delete many", len(keys), true,
		func(i int) (string, error) { return keys[i], rules.Check(keys[i]) },
		func(i int, err error) { results[i].Existed, results[i].Err = existed(struct{}{}, err) },
		func(se *session, of []int) ([]error, error) {
			return se.pipeline(len(of), "DELETED", func(j int, head []byte) (_, body []byte) {
				return append(append(append(head, "delete "...), keys[of[j]]...), "\r\n"...), nil
			})
		}}.run()
	return results
}

// batch is a request about n keys, which live on several servers.
type batch struct {
	b      *Backend
	ctx    context.Context
	op     string
	n      int
	writes bool
	check  func(i int) (key string, err error)
	report func(i int, err error)
	// send returns the error of each key, or errUnknown, and that of the request.
	send func(se *session, of []int) ([]error, error)
}

// part is the share of one server in a batch, as indices.
type part struct {
	server *server
	of     []int
}

func (t batch) run() {
	parts := t.split()
	if len(parts) == 1 {
		t.serve(parts[0])
		return
	}
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { t.serve(p) })
	}
	wg.Wait()
}

// split groups the keys by server and reports those that nothing can be asked
// of.
func (t batch) split() (parts []part) {
	for i := range t.n {
		key, err := t.check(i)
		if err != nil {
			t.report(i, err)
			continue
		}
		s, err := t.b.server(key)
		if err != nil {
			t.report(i, fail(t.ctx, t.op, err))
			continue
		}
		j := 0 // servers are few
		for j < len(parts) && parts[j].server != s {
			j++
		}
		if j == len(parts) {
			parts = append(parts, part{s, make([]int, 0, t.n-i)})
		}
		parts[j].of = append(parts[j].of, i)
	}
	return parts
}

// serve sends a part and reports each outcome.
func (t batch) serve(p part) {
	for start := 0; start < len(p.of); start += maxBatch {
		of := p.of[start:min(start+maxBatch, len(p.of))]
		errs, doubtful, err := t.ask(p.server, of)
		for j, i := range of {
			one := err
			if j < len(errs) && errs[j] != errUnknown {
				one = errs[j]
			} else if doubtful && t.writes {
				t.b.doubts.Add(t.key(i))
			}
			t.report(i, fail(t.ctx, t.op, one))
		}
	}
}

func (t batch) ask(s *server, of []int) (errs []error, doubtful bool, err error) {
	if t.writes {
		if err := t.b.settle(t.ctx, s, len(of), func(j int) string { return t.key(of[j]) }); err != nil {
			return nil, false, err
		}
	}
	return run(t.ctx, t.b, s, func(se *session) ([]error, error) { return t.send(se, of) })
}

func (t batch) key(i int) string {
	key, _ := t.check(i)
	return key
}

// Over TLS a pipeline goes in groups that fit into one record and into the
// buffer of a connection: memcached (1.6.18 at least) waits for more from the
// network while the rest of a record lies in OpenSSL's buffer, after 20 commands
// or as soon as a value ends within a record.
const (
	groupCommands = 16
	groupBytes    = 8 << 10
)

// pipeline sends n commands before it reads their answers, one line each.
// command appends the i-th to head and may name a body that follows it.
func (se *session) pipeline(n int, success string, command func(i int, head []byte) (_, body []byte)) ([]error, error) {
	w := se.ask()
	errs := make([]error, n)
	for i := range errs {
		errs[i] = errUnknown
	}
	head := make([]byte, 0, 300)
	var err error
	waiting := 0 // the first command that has no answer yet
	for i := 0; i < n && err == nil; i++ {
		var body []byte
		head, body = command(i, head[:0])
		if full := i-waiting >= groupCommands || w.Buffered()+len(head)+len(body) > groupBytes; se.opaque && full && i > waiting {
			err = se.answers(errs[waiting:i], success)
			waiting = i
		}
		_, _ = w.Write(head)
		if body != nil {
			_, _ = w.Write(body)
			_, _ = w.WriteString("\r\n")
		}
	}
	if err == nil {
		err = se.answers(errs[waiting:], success)
	}
	se.answered(err)
	return errs, err
}

// answers sends what is buffered and reads its answers. A SERVER_ERROR concerns its own
// command alone; after any other surprise nothing can be said of the rest.
func (se *session) answers(errs []error, success string) error {
	if err := se.w.Flush(); err != nil {
		return err
	}
	for i := range errs {
		text, err := se.readLine()
		var refused *ServerError
		switch {
		case errors.As(err, &refused) && refused.Code == "SERVER_ERROR":
			errs[i] = err
		case err != nil:
			return err
		case string(text) == success:
			errs[i] = nil
		case string(text) == "NOT_FOUND":
			errs[i] = memcache.ErrCacheMiss
		default:
			return errReply
		}
	}
	return nil
}
