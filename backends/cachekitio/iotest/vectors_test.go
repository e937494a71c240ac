package iotest_test

import (
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/testvectors"
)

// TestPathVectors: what the family's encoders write is one key for the server,
// decoded once; the keys that they refuse reach no entry in any spelling.
func TestPathVectors(t *testing.T) {
	text, err := fs.ReadFile(testvectors.Embedded(), "storage.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Blocks struct {
			Rows []struct {
				Key     string `json:"key"`
				Encoded string `json:"encoded"`
				Refused bool   `json:"refused"`
			} `json:"path_key"`
		} `json:"blocks"`
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Blocks.Rows) < 30 {
		t.Fatalf("%d rows, %v", len(file.Blocks.Rows), err)
	}
	both(t, func(t *testing.T, s *iotest.Server, c *client) {
		accepted := 0
		for _, row := range file.Blocks.Rows {
			segment := row.Encoded
			if row.Refused {
				segment = row.Key
			}
			reply := c.do("PUT", base+segment, "x")
			all := s.Requests()
			seen := all[len(all)-1]
			switch {
			case row.Refused && reply.status == 200:
				t.Errorf("%q is stored", row.Key)
			case !row.Refused && (seen.Endpoint != "value" || seen.Key != row.Key):
				t.Errorf("%q arrives at %q as %q", segment, seen.Endpoint, seen.Key)
			case !row.Refused && !slices.Contains([]int{200, 400}, reply.status):
				t.Errorf("%q: status %d", segment, reply.status)
			case reply.status == 200:
				accepted++
			}
		}
		if accepted < 2 {
			t.Errorf("%d keys were accepted", accepted)
		}
	})
}
