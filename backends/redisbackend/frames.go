package redisbackend

const (
	// maxReplyLine bounds a line of a reply; the longest legal one is an error.
	maxReplyLine = 64 << 10
	// minBulk is the bulk string that is taken even if values have to be smaller:
	// INFO and CLUSTER NODES answer with one.
	minBulk = 1 << 20
	// maxElements is how many elements may be outstanding at once, over all
	// levels: more than a page of SCAN or a batch has.
	maxElements = 1 << 20
	// maxDepth is how deep arrays may nest. COMMAND needs 9.
	maxDepth = 32
	// beyond stands for every number that is larger.
	beyond = 1 << 50
)

// frames follows the replies of a server, byte by byte, before go-redis sees
// them, and bounds what they claim. go-redis trusts a server: it allocates the
// length of any string or array at once, panics if that is beyond what Go can
// allocate, reads lines without an end, and recurses into nested arrays until
// the stack is full, which nothing can recover from.
//
// It knows the types of RESP2 and RESP3 (Redis, "RESP protocol spec").
type frames struct {
	limit int   // largest bulk string in bytes; 0 is minBulk
	skip  int64 // bytes of a bulk string and its line end still to come
	line  int   // bytes of the current line so far
	kind  byte  // the first of them
	n     int64 // the number after it
	bad   bool  // it is no number
	minus bool
	depth int
	open  [maxDepth]int32 // elements still to come, of each level
	total int             // their sum
}

// take is given bytes that have arrived. The error is errReply or
// errReplyTooLarge.
func (f *frames) take(p []byte) error {
	for len(p) > 0 {
		if f.skip > 0 {
			k := min(f.skip, int64(len(p)))
			f.skip -= k
			p = p[k:]
			continue
		}
		c := p[0]
		p = p[1:]
		switch {
		case f.line == 0:
			f.kind, f.n, f.bad, f.minus, f.line = c, 0, false, false, 1
		case c == '\n':
			f.line = 0
			if err := f.element(); err != nil {
				return err
			}
		default:
			if f.line++; f.line > maxReplyLine {
				return errReply
			}
			f.digit(c)
		}
	}
	return nil
}

func (f *frames) digit(c byte) {
	switch {
	case c >= '0' && c <= '9':
		f.n = min(10*f.n+int64(c-'0'), beyond)
	case c == '-' && f.line == 2:
		f.minus = true
	case c != '\r':
		f.bad = true
	}
}

// element is called at the end of a line.
func (f *frames) element() error {
	switch f.kind {
	case '$', '=', '!':
		return f.bulk()
	case '*', '~', '>':
		return f.array(1)
	case '%':
		return f.array(2)
	case '|':
		// An attribute stands before the element that it belongs to.
		return errReply
	}
	f.done()
	return nil
}

func (f *frames) bulk() error {
	switch {
	case f.minus && f.n == 1:
		f.done()
		return nil
	case f.bad || f.minus:
		return errReply
	case f.n > int64(max(f.limit, minBulk)):
		return errReplyTooLarge
	}
	f.skip = f.n + 2
	f.done()
	return nil
}

func (f *frames) array(each int64) error {
	switch {
	case f.minus && f.n == 1 || !f.minus && !f.bad && f.n == 0:
		f.done()
		return nil
	case f.bad || f.minus || f.n > maxElements || f.total+int(f.n*each) > maxElements || f.depth == maxDepth:
		return errReply
	}
	f.open[f.depth] = int32(f.n * each)
	f.total += int(f.n * each)
	f.depth++
	return nil
}

// done counts an element that is complete, or whose bytes are known.
func (f *frames) done() {
	for f.depth > 0 {
		f.total--
		if f.open[f.depth-1]--; f.open[f.depth-1] > 0 {
			return
		}
		f.depth--
	}
}
