package peers_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/cachekit-io/cachekit-go/codec"
	"github.com/cachekit-io/cachekit-go/internal/peers"
)

// generator makes arguments and values at random. A failing test prints its seed,
// which CACHEKIT_TEST_SEED repeats.
type generator struct{ *rand.Rand }

func newGenerator(t testing.TB) generator {
	seed := rand.Uint64()
	if text := os.Getenv("CACHEKIT_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed of the random cases: %d", seed)
		}
	})
	return generator{rand.New(rand.NewPCG(seed, 0))}
}

// pick returns one of the choices.
func pick[T any](g generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g generator) int() any {
	edges := []int64{0, 31, 32, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxInt64, -1, -32, -33, -128, -129,
		-32768, -32769, math.MinInt32, math.MinInt32 - 1, math.MinInt64}
	if g.IntN(8) == 0 {
		return math.MaxInt64 + 1 + g.Uint64N(1<<63)
	}
	if g.IntN(2) == 0 {
		return edges[g.IntN(len(edges))]
	}
	return int64(g.Uint64()) >> g.IntN(64)
}

func (g generator) float() float64 {
	switch g.IntN(4) {
	case 0:
		return pick(g, 0, math.Copysign(0, -1), 1.5, -2, 1e300, 5e-324, math.MaxFloat64, 1<<53, -(1 << 63), 1<<63, 1<<64, 0.1)
	case 1:
		return float64(g.IntN(1000)) - 500
	case 2:
		return g.NormFloat64() * math.Pow10(g.IntN(40)-20)
	}
	for {
		if f := math.Float64frombits(g.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
}

func (g generator) length() int { return pick(g, 0, 1, 3, 15, 16, 31, 32, 200, 255, 256, 300) }

func (g generator) string() string {
	runes := []rune("aZ09 _-:.$\"\\/\n\tßé漢字\U0001d518\U0001f9c1\ufeff\u0000\uffff")
	var b strings.Builder
	for range g.length() {
		b.WriteRune(runes[g.IntN(len(runes))])
	}
	return b.String()
}

// key leaves out what no SDK takes in a key.
func (g generator) key() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, g.string())
}

func (g generator) bytes() []byte {
	b := make([]byte, g.length())
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// time is between the years 1901 and 2100, in any zone (a few minutes from UTC,
// to the second, as before 1900), down to nanoseconds.
func (g generator) time() time.Time {
	t := time.Unix(g.Int64N(6_250_000_000)-2_150_000_000, g.Int64N(1e9))
	if g.IntN(3) == 0 {
		t = t.Truncate(time.Second)
	}
	return t.In(time.FixedZone("", pick(g, 0, 1, 60, 60)*(g.IntN(28*60)-14*60)))
}

func (g generator) uuid() peers.UUID {
	b := g.Uint64()
	return peers.UUID(fmt.Sprintf(pick(g, "%08x-%04x-4%03x-8%03x-%012x", "%08X-%04X-4%03X-8%03X-%012X"),
		uint32(b), uint16(b>>32), b>>52, b>>40&0xfff, g.Uint64()>>16))
}

// set holds scalars only, and no bools: Python's sets take no others, and to
// them True is 1.
func (g generator) set() codec.Set {
	set := make(codec.Set, g.IntN(20))
	for i := range set {
		set[i] = pick[func() any](g, g.int, func() any { return g.float() }, func() any { return g.string() })()
	}
	return set
}

func (g generator) argument(depth int) any {
	switch n := g.IntN(12); {
	case n == 0:
		return nil
	case n == 1:
		return g.IntN(2) == 0
	case n == 2 || n == 3:
		return g.int()
	case n == 4:
		return g.float()
	case n == 5:
		return g.string()
	case n == 6:
		return g.bytes()
	case n == 7:
		return g.time()
	case n == 8:
		return g.uuid()
	case n == 9 || depth == 0:
		return g.set()
	case n == 10:
		return g.list(depth, g.argument)
	default:
		return g.object(depth, g.argument)
	}
}

func (g generator) value(depth int) any {
	switch n := g.IntN(11); {
	case n == 0:
		return nil
	case n == 1:
		return g.IntN(2) == 0
	case n == 2:
		return g.int()
	case n == 3:
		return g.float()
	case n == 4:
		return g.string()
	case n == 5:
		return g.bytes()
	case n == 6:
		return g.time()
	case n == 7:
		return codec.Date{Year: 1 + g.IntN(9999), Month: time.Month(1 + g.IntN(12)), Day: 1 + g.IntN(28)}
	case n == 8 || depth == 0:
		return codec.TimeOfDay{Hour: g.IntN(24), Minute: g.IntN(60), Second: g.IntN(60), Microsecond: g.IntN(2) * g.IntN(1e6)}
	case n == 9:
		return g.list(depth, g.value)
	default:
		return g.object(depth, g.value)
	}
}

func (g generator) list(depth int, item func(int) any) []any {
	list := make([]any, pick(g, 0, 1, 2, 5, 15, 16))
	for i := range list {
		list[i] = item(depth - 1)
	}
	return list
}

func (g generator) object(depth int, item func(int) any) map[string]any {
	m := map[string]any{}
	for range pick(g, 0, 1, 2, 5, 16, 17) {
		m[g.string()] = item(depth - 1)
	}
	return m
}
