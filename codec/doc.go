// Package codec turns Go values into MessagePack and back, in the form that
// every SDK of the CacheKit family reads: the value format of interop/v1
// (spec/interop-mode.md, "Interop Value Format").
//
// # Writing
//
// [Append] writes one document, always the same bytes for the same value: map
// keys and struct fields sorted by their UTF-8 bytes, the shortest form of every
// integer, string and header, floats as float64 whatever their width, []byte and
// byte arrays as bin. Struct fields are named by the tag `msgpack`, else `json`,
// else their Go name; "-" leaves one out, and omitempty, omitzero and embedding
// work as in encoding/json. A nil pointer, slice, map or interface is nil. Keys
// of maps are strings, text marshalers, or integers (written in decimal).
// [time.Time], [Date] and [TimeOfDay] are written as the sentinel maps that the
// other SDKs revive. Other types that implement encoding.TextMarshaler are
// strings. Channels, functions and complex numbers, NaN and the infinities,
// strings that are not UTF-8, structs without exported fields and values nested
// deeper than [MaxDepth] are refused.
//
// # Reading
//
// [Unmarshal] first walks the document ([Check]): exactly one, complete, nested
// no deeper than MaxDepth, and no header that claims more than the bytes behind
// it could hold. The walk allocates nothing, so no input can make reading it
// allocate more than in proportion to its own size. Any well-formed document is
// accepted, canonical or not.
//
// Decoding is assignment: afterwards the destination holds what the document
// says and nothing of what it held before, so fields that the document does not
// have become zero. The memory of the destination is reused: the capacity of
// slices, the maps, what pointers point to, and a string that has not changed.
// Nothing refers to the document afterwards.
//
// A number that does not fit its Go type is refused, never cut. An integer fits
// a float field if the float holds it exactly (JavaScript writes 2.0 as 2), bin
// and str fit both string and []byte, and an array of small integers fits
// []byte (Rust writes a Vec<u8> so). Into an empty interface go nil, bool,
// int64 (uint64 above its range), float64, string, []byte, []any,
// map[string]any (map[any]any if a key is no string), [time.Time], [Date],
// [TimeOfDay] and [Ext].
package codec
