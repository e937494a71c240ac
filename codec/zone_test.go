package codec_test

import (
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/codec"
)

// Offsets that Python's fromisoformat takes: less than a day, one sign in front.
func TestOffsets(t *testing.T) {
	for _, test := range []struct {
		seconds int
		want    string
	}{
		{0, "2024-05-06T07:08:09+00:00"},
		{19800, "2024-05-06T12:38:09+05:30"},
		{-3600, "2024-05-06T06:08:09-01:00"},
		{-1, "2024-05-06T07:08:08-00:00:01"},
		{-50, "2024-05-06T07:07:19-00:00:50"},
		{50, "2024-05-06T07:08:59+00:00:50"},
		{-3650, "2024-05-06T06:07:19-01:00:50"},
		{86399, "2024-05-07T07:08:08+23:59:59"},
		{86400, "2024-05-06T07:08:09+00:00"},
		{-90000, "2024-05-06T07:08:09+00:00"},
	} {
		in := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC).In(time.FixedZone("", test.seconds))
		doc, err := codec.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var sentinel struct {
			Value string `msgpack:"value"`
		}
		var out time.Time
		if err := codec.Unmarshal(doc, &out); err != nil || !out.Equal(in) {
			t.Errorf("offset of %d s: read back as %v, %v", test.seconds, out, err)
		}
		if err := codec.Unmarshal(doc, &sentinel); err != nil || sentinel.Value != test.want {
			t.Errorf("offset of %d s: written as %q, %v, want %q", test.seconds, sentinel.Value, err, test.want)
		}
	}
	behind := codec.TimeOfDay{Hour: 1, Zoned: true, Offset: -5 * time.Second}
	if got := behind.String(); got != "01:00:00-00:00:05" {
		t.Errorf("time of day: %q", got)
	}
}
