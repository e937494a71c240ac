// Package memorybackend is a storage in the process, for tests of programs that
// use a cache: it has every capability, a clock that the test moves, and
// outages on command.
//
//	clock := memorybackend.NewClock(time.Now())
//	backend := memorybackend.New(&memorybackend.Options{Clock: clock})
//	cache, err := secure.New(ctx, &secure.Options{
//		Backend: backend, MasterKey: keys.Generate(), NoL1: true,
//	})
//
//	clock.Advance(time.Hour)         // entries expire
//	backend.Fail(backends.Transient) // the storage is down
//	backend.Stall()                  // it hangs: calls end with their contexts
//	backend.Resume()                 // it is back
//
// It is not for production: it evicts nothing, takes one lock for every call and
// loses everything with the process. A cache that is to stay in the process has
// secure.Options.L1Only.
//
// # What a test can do
//
// [Backend.Peer] is a second handle on the same entries, as another process
// would have: not stalled and not failing when the first one is, so a test looks
// at the storage, changes a byte of an entry or plants one through it.
// [Backend.Intercept] decides call by call. Options.KeyRules and
// Options.MaxValueBytes make it as narrow as the storage it stands for. To hide
// the capabilities, wrap it: struct{ backends.Backend }{b}.
//
// The layer that a cache keeps in the process has a clock of its own, hence NoL1
// above. In a bubble of testing/synctest leave Options.Clock nil: time.Now is
// fake for both there.
package memorybackend
