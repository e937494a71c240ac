package container_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec/container"
)

func TestEveryPrefixIsRefused(t *testing.T) {
	check := func(kind string, open func([]byte) error, vectors []vector) {
		for _, v := range vectors {
			if len(v.Container) > 1000 {
				continue
			}
			for n := range len(v.Container) {
				if err := open(v.Container[:n]); !errors.Is(err, container.ErrMalformed) {
					t.Errorf("%s, %s: %d of %d bytes: got %v", kind, v.Name, n, len(v.Container), err)
				}
			}
			longer := append(slices.Clone([]byte(v.Container)), 0)
			if err := open(longer); !errors.Is(err, container.ErrTrailing) {
				t.Errorf("%s, %s: with a byte behind it: got %v, want ErrTrailing", kind, v.Name, err)
			}
		}
	}
	check("ByteStorage", openByteStorage, loadByteStorage(t).Opens)
	check("v2", openV2, loadV2(t).Opens)
}

// The checksum covers the data: a flipped bit is refused or changes nothing.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for _, v := range loadByteStorage(t).Opens {
		if len(v.Container) > 1000 {
			continue
		}
		for i := range 8 * len(v.Container) {
			data := slices.Clone([]byte(v.Container))
			data[i/8] ^= 1 << (i % 8)
			got, _, err := container.OpenByteStorage(data, 0)
			if err == nil && !bytes.Equal(got, v.Data) || err != nil && !errors.Is(err, container.ErrMalformed) {
				t.Errorf("%s, bit %d: got %d other bytes, %v", v.Name, i, len(got), err)
			}
		}
	}
}

// The types of elements are those of their markers, whatever the value.
func TestOtherMarkersAreRefused(t *testing.T) {
	const sum, token = "98 2d06cc800538ccd3cc94ccc2", "a7 6d73677061636b" // of no data
	for name, tc := range map[string]struct {
		open func([]byte) error
		data string
		ok   bool
	}{
		"ByteStorage":                     {openByteStorage, "94 c40100" + sum + "00" + token, true},
		"wide headers":                    {openByteStorage, "dd00000004 c60000000100 dc0008 cc2d cd0006 ce00000080 cf0000000000000005 38ccd3cc94ccc2 cf0000000000000000 db000000076d73677061636b", true},
		"array of ints":                   {openByteStorage, "94 9100" + sum + "00" + token, true},
		"another format token":            {openByteStorage, "94 c40100" + sum + "00 a0", true},
		"block as a string":               {openByteStorage, "94 a100" + sum + "00" + token, false},
		"block of signed integers":        {openByteStorage, "94 91d000" + sum + "00" + token, false},
		"checksum as bin":                 {openByteStorage, "94 c40100 c4082d06800538d394c2 00" + token, false},
		"size in a signed form":           {openByteStorage, "94 c40100" + sum + "d000" + token, false},
		"size as a float":                 {openByteStorage, "94 c40100" + sum + "ca00000000" + token, false},
		"format as bin":                   {openByteStorage, "94 c40100" + sum + "00 c4076d73677061636b", false},
		"format not UTF-8":                {openByteStorage, "94 c40100" + sum + "00 a1ff", false},
		"a map":                           {openByteStorage, "84 c40100" + sum + "00" + token, false},
		"v2 in ByteStorage":               {openByteStorage, "c102 93 00 01 c40100", false},
		"v2":                              {openV2, "c102 93 00 01 c40100", true},
		"v2, wide headers":                {openV2, "c102 dd00000003 cf0000000000000000 cf0000000000000001 c60000000100", true},
		"v2, size in a signed form":       {openV2, "c102 93 00 d001 c40100", false},
		"v2, negative method":             {openV2, "c102 93 ff 01 c40100", false},
		"v2, method as a boolean":         {openV2, "c102 93 c2 01 c40100", false},
		"v2, two elements":                {openV2, "c102 92 00 01", false},
		"v2, four elements":               {openV2, "c102 94 00 01 c40100 c0", false},
		"v2, method 255":                  {openV2, "c102 93 ccff 01 c40100", false},
		"v2, method that wraps 8 bits":    {openV2, "c102 93 cd0100 01 c40100", false},
		"v2, version 1":                   {openV2, "c101 93 00 01 c40100", false},
		"v2, ByteStorage in its place":    {openV2, "94 c40100" + sum + "00" + token, false},
		"v2, a frame of the Python SDK's": {openV2, "434b03 00000000", false},
		"v2, LZ4 frame":                   {openV2, "c102 93 01 05 c40f 04224d184040c0 00000000 00000000", false},
	} {
		if err := tc.open(unhex(t, tc.data)); tc.ok != (err == nil) || !tc.ok && !errors.Is(err, container.ErrMalformed) {
			t.Errorf("%s: got %v, want it to open: %t", name, err, tc.ok)
		}
	}
}

func TestFormatTokens(t *testing.T) {
	for _, format := range []string{"", "msgpack", "json", "ä", string(bytes.Repeat([]byte("f"), 70_000))} {
		env, err := container.AppendByteStorage([]byte("> "), []byte("data"), format)
		if err != nil {
			t.Fatal(err)
		}
		if data, got, err := container.OpenByteStorage(env[2:], 0); err != nil || got != format || string(data) != "data" {
			t.Errorf("%.10q: got %.10q, %v", format, got, err)
		}
	}
	if out, err := container.AppendByteStorage([]byte("kept"), nil, "\xff"); !errors.Is(err, container.ErrLayout) || string(out) != "kept" {
		t.Errorf("invalid UTF-8: got %q, %v", out, err)
	}
}
