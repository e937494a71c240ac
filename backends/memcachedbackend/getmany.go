package memcachedbackend

import (
	"bytes"

	"github.com/cachekit-io/cachekit-go/backends"
)

// getMany reads several items with "get" (doc/protocol.txt, "Retrieval command")
// into the places that value returns. gomemcache's GetMulti costs three allocations
// a key where the value needs one, reads 4 KiB at a time and has to be followed. What
// came before a failure is known, unless the answer is none.
func (se *session) getMany(keys []string, limit int, value func(j int) *[]byte) ([]error, error) {
	w := se.ask()
	_, _ = w.WriteString("get")
	errs := make([]error, len(keys))
	for j, key := range keys {
		_ = w.WriteByte(' ')
		_, _ = w.WriteString(key)
		errs[j] = errUnknown
	}
	_, _ = w.WriteString("\r\n")
	err := w.Flush()
	if err == nil {
		err = se.readValues(keys, limit, errs, value)
	}
	se.answered(err)
	if err != errReply {
		return errs, err
	}
	for j := range keys {
		*value(j) = nil
	}
	return nil, err
}

// readValues reads the answer. Values come in the order of the keys, but from some
// proxies.
func (se *session) readValues(keys []string, limit int, errs []error, value func(j int) *[]byte) error {
	found, next := 0, 0
	for {
		text, err := se.readLine()
		if err != nil {
			return err
		}
		if string(text) == "END" {
			break
		}
		key, size, ok := valueLine(text)
		j := place(keys, errs, key, next)
		switch {
		case !ok || j < 0:
			return errReply
		case size > limit:
			return errReplyTooLarge
		}
		if *value(j), err = se.readValue(size); err != nil {
			return err
		}
		errs[j], next = nil, j+1
		found++
	}
	if found < len(keys) {
		missing(keys, errs, value)
	}
	return nil
}

// place returns where key is among those that have no answer yet, from next on or
// before, or -1: nobody asked for it.
func place(keys []string, errs []error, key []byte, next int) int {
	for n := range keys {
		if j := (next + n) % len(keys); keys[j] == string(key) && errs[j] == errUnknown {
			return j
		}
	}
	return -1
}

// missing completes an answer: a key has no entry, or is the repetition of one that
// was answered once.
func missing(keys []string, errs []error, value func(j int) *[]byte) {
	answered := make(map[string]int, len(keys))
	for j, key := range keys {
		if errs[j] == nil {
			answered[key] = j
		}
	}
	for j, key := range keys {
		if errs[j] == nil {
			continue
		}
		errs[j] = backends.ErrNotFound
		if i, ok := answered[key]; ok {
			*value(j), errs[j] = bytes.Clone(*value(i)), nil
		}
	}
}
