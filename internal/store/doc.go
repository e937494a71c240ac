// Package store is the only code of this module that holds a backend after a
// cache was constructed. Its writes take an envelope.Sealed and write it under
// the key it was sealed for, so that neither plaintext nor a mismatched key can
// be written: there is no parameter for either. Its reads return an
// envelope.Received, which can only be opened.
package store
