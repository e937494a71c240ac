package redisbackend

import "strconv"

// reportKeys is how many keys are passed on at a time.
const reportKeys = 256

// next reads up to the next answer, or one report (RESP3 specification, "push
// type"): reports come between answers. Nothing is kept of what is not needed,
// so a server can make this read long, but not take memory.
func (s *session) next() error {
	kind, n, line, err := s.header()
	if err != nil {
		return err
	}
	switch kind {
	case '>':
		return s.report(n)
	case '|':
		return s.skipAll(2*n, 1)
	}
	r, ok := s.answered()
	switch {
	case !ok:
		return errReply
	case r.write != nil:
		s.served = true
		return s.outcome(r.write, kind, line)
	case kind == '-':
		return refusal(line)
	case r.kind == requestHello:
		return s.checkRole(kind, n)
	case kind != '+':
		return errReply
	case r.kind == requestTrack:
		s.link.set(func() {
			s.link.live = true
			s.link.covered = append(s.link.covered, r.prefixes...)
			s.link.lane.Store(s)
		})
	}
	return nil
}

// outcome hands the answer to a write over, whose caller may be gone the next
// moment. Others are told of the change too.
func (s *session) outcome(w *linkWrite, kind byte, line []byte) error {
	switch kind {
	case '-':
		answer := refusal(line)
		w.finish(0, answer)
		if answer.code() == "READONLY" {
			return errNoMaster
		}
		return nil
	case '+', ':':
		var n int64
		if kind == ':' {
			n, _ = strconv.ParseInt(string(line), 10, 64)
		}
		key, by := w.key, w.by
		w.finish(n, nil)
		s.link.t.wrote(key, by)
		return nil
	}
	w.finish(0, errLost)
	return errReply
}

// checkRole reads the answer to HELLO.
func (s *session) checkRole(kind byte, pairs int64) error {
	if kind != '%' {
		return errReply
	}
	role := ""
	for range pairs {
		name, err := s.text()
		if err != nil {
			return err
		}
		if name == "role" {
			role, err = s.text()
		} else {
			err = s.skip(1)
		}
		if err != nil {
			return err
		}
	}
	if role != "master" {
		return errNoMaster
	}
	return nil
}

// report handles a push of n values.
func (s *session) report(n int64) error {
	if n < 1 {
		return errReply
	}
	name, err := s.text()
	if err != nil {
		return err
	}
	if name != "invalidate" || n != 2 {
		return s.skipAll(n-1, 1)
	}
	kind, n, _, err := s.header()
	switch {
	case err != nil:
		return err
	case kind == '_' || kind == '*' && n < 0:
		s.link.t.flushed()
		return nil
	case kind != '*':
		return errReply
	}
	return s.invalidated(n)
}

// invalidated passes on n keys.
func (s *session) invalidated(n int64) error {
	for n > 0 {
		s.keys = s.keys[:0]
		for ; n > 0 && len(s.keys) < reportKeys; n-- {
			key, err := s.text()
			if err != nil {
				return err
			}
			if key != "" {
				s.keys = append(s.keys, key)
			}
		}
		s.link.t.changed(s.link, s.keys)
	}
	return nil
}
