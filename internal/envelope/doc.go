// Package envelope holds the only Seal and the only Open of this module, and
// the two types that carry what they produce and consume.
//
// A [Sealed] can come only from [Box.Seal] or from a successful [Box.Open];
// package store writes nothing else, so that nothing but sealed bytes can reach
// a backend. A [Received] is what a backend returned; it can only be opened.
// Both carry the storage key that they belong to, and the key is part of what
// is authenticated: bytes moved to another key, namespace or tenant do not open.
//
// # Format
//
// Sealed bytes are nonce (12) || ciphertext || tag (16), AES-256-GCM
// (spec/encryption.md, "Ciphertext Format"). The additional data is the
// family's AAD v3 in its four-component form. No other AAD is ever tried.
//
// # Nonces
//
// A sealer draws a random 96-bit start and counts up from it (NIST SP 800-38D,
// 8.2.2 speaks of the random construction; counting from a random start keeps
// the seals of one process apart for certain and those of different processes
// apart unless their intervals of at most 2^32 overlap). It draws a new start
// after 2^32 seals and whenever the wall clock and the monotonic clock disagree
// by more than a second, as they do after a suspend or when a copy of a virtual
// machine is resumed. With [Config.RandomNonces], and in FIPS 140-only mode, each
// nonce is drawn afresh. There is no way to pass a nonce in.
package envelope
