package peers

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
)

// UUID is the text of a UUID as an argument; each SDK passes it as its own type.
type UUID string

// MarshalText returns the lower-case form, which is what interop keys hash.
func (u UUID) MarshalText() ([]byte, error) { return []byte(strings.ToLower(string(u))), nil }

func tag(name, body string) map[string]any { return map[string]any{"$" + name: body} }

// tagArguments writes arguments as tagged JSON (python/tagged.py).
func tagArguments(args []any) ([]any, error) {
	return tagList(args, func(v any) (any, error) {
		if t, ok := v.(time.Time); ok {
			return tag("micros", strconv.FormatInt(t.UnixMicro(), 10)), nil
		}
		return nil, errUntagged
	})
}

// tagValue writes a value as tagged JSON, by way of its document: what package
// codec reads into an interface is what an SDK of another language would hold.
func tagValue(v any) (any, error) {
	doc, err := codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := codec.Unmarshal(doc, &plain); err != nil {
		return nil, err
	}
	return tagItem(plain, func(v any) (any, error) {
		switch v := v.(type) {
		case time.Time:
			text, err := isoTime(v)
			return tag("datetime", text), err
		case codec.Date:
			return tag("date", v.String()), nil
		case codec.TimeOfDay:
			return tag("time", v.String()), nil
		}
		return nil, errUntagged
	})
}

// isoTime is the text of t in its document.
func isoTime(t time.Time) (string, error) {
	doc, err := codec.Marshal(t)
	if err != nil {
		return "", err
	}
	var sentinel struct {
		Value string `msgpack:"value"`
	}
	err = codec.Unmarshal(doc, &sentinel)
	return sentinel.Value, err
}

var errUntagged = errors.New("no tag for it")

func tagItem(v any, temporal func(any) (any, error)) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int, int64:
		return v, nil
	case uint64:
		return tag("int", strconv.FormatUint(v, 10)), nil
	case float64:
		return tag("float", strconv.FormatFloat(v, 'g', -1, 64)), nil
	case []byte:
		return tag("bytes", hex.EncodeToString(v)), nil
	case UUID:
		return tag("uuid", string(v)), nil
	case []any:
		return tagList(v, temporal)
	case codec.Set:
		items, err := tagList(v, temporal)
		return map[string]any{"$set": items}, err
	case map[string]any:
		pairs := make([]any, 0, len(v))
		for key, e := range v {
			item, err := tagItem(e, temporal)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, []any{key, item})
		}
		return map[string]any{"$map": pairs}, nil
	}
	item, err := temporal(v)
	if err != nil {
		return nil, fmt.Errorf("peer: %T: %w", v, err)
	}
	return item, nil
}

func tagList(items []any, temporal func(any) (any, error)) ([]any, error) {
	list := make([]any, len(items))
	for i, e := range items {
		item, err := tagItem(e, temporal)
		if err != nil {
			return nil, err
		}
		list[i] = item
	}
	return list, nil
}

// untagDocument turns a value in tagged JSON into its canonical document.
func untagDocument(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("peer: value: %w", err)
	}
	plain, err := untag(v)
	if err != nil {
		return nil, fmt.Errorf("peer: value: %w", err)
	}
	return codec.Marshal(plain)
}

func untag(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return strconv.ParseUint(v.String(), 10, 64)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			item, err := untag(e)
			if err != nil {
				return nil, err
			}
			list[i] = item
		}
		return list, nil
	case map[string]any:
		return untagMap(v)
	}
	return v, nil
}

func untagMap(object map[string]any) (any, error) {
	if len(object) == 1 {
		for name, body := range object {
			if strings.HasPrefix(name, "$") {
				return untagBody(name, body)
			}
		}
	}
	m := make(map[string]any, len(object))
	for key, e := range object {
		item, err := untag(e)
		if err != nil {
			return nil, err
		}
		m[key] = item
	}
	return m, nil
}

func untagBody(name string, body any) (any, error) {
	if name == "$map" {
		pairs, _ := body.([]any)
		m := make(map[string]any, len(pairs))
		for _, p := range pairs {
			pair, _ := p.([]any)
			if len(pair) != 2 {
				return nil, errors.New("a pair is not two items")
			}
			item, err := untag(pair[1])
			if err != nil {
				return nil, err
			}
			m[fmt.Sprint(pair[0])] = item
		}
		return m, nil
	}
	text, ok := body.(string)
	if !ok {
		return nil, fmt.Errorf("the body of %s is not a string", name)
	}
	switch name {
	case "$bytes":
		return hex.DecodeString(text)
	case "$float":
		f, err := strconv.ParseFloat(text, 64)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("a float is not finite")
		}
		return f, err
	case "$datetime", "$date", "$time":
		return map[string]any{"__" + name[1:] + "__": true, "value": text}, nil
	}
	return nil, fmt.Errorf("unknown tag %s", name)
}
