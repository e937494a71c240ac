package testvectors

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
)

// errNoGoValue is returned for tagged values that Go has no counterpart of: a
// date and time without an offset.
var errNoGoValue = errors.New("there is no such value in Go")

// uuid stands for the UUID types that Go programs have: it is written as text.
type uuid string

// MarshalText returns the lower-case text.
func (u uuid) MarshalText() ([]byte, error) { return []byte(strings.ToLower(string(u))), nil }

// untag turns tagged JSON into the Go value that it stands for.
func untag(v any) (any, error) {
	switch x := v.(type) {
	case json.Number:
		return x.Int64()
	case []any:
		return untagList(x)
	case map[string]any:
		if len(x) == 1 {
			for tag, body := range x {
				if strings.HasPrefix(tag, "$") {
					return untagOne(tag, body)
				}
			}
		}
		out := make(map[string]any, len(x))
		for k, e := range x {
			var err error
			if out[k], err = untag(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func untagList(list []any) (out []any, err error) {
	out = make([]any, len(list))
	for i, e := range list {
		if out[i], err = untag(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func untagOne(tag string, body any) (any, error) {
	text, isText := body.(string)
	if list, ok := body.([]any); ok && tag == "$set" {
		out, err := untagList(list)
		return codec.Set(out), err
	}
	if !isText {
		return nil, fmt.Errorf("tag %s has no text", tag)
	}
	switch tag {
	case "$bytes":
		return hex.DecodeString(text)
	case "$float":
		f, err := strconv.ParseFloat(text, 64)
		if errors.Is(err, strconv.ErrRange) {
			err = nil // an infinity
		}
		return f, err
	case "$int":
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return nil, errors.New("$int has no integer")
		}
		return n, nil
	case "$datetime":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, errNoGoValue
		}
		return t, nil
	case "$uuid":
		return uuid(text), nil
	}
	return nil, fmt.Errorf("tag %s is unknown to this program", tag)
}
