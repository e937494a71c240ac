// Package tinkcompat shows that github.com/google/tink/go v1.7.0, the archived
// predecessor of the Tink that package keyfile uses, reads the keyset in a
// keyring file. It is a module of its own: both in one binary clash in the
// registry of protocol buffers.
package tinkcompat
