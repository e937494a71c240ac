// Package backendtest is the conformance suite of storages: what a
// [backends.Backend] has to do, as cases that print the rule they check. The
// backends of this module pass it in full; run it against your own:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, backendtest.Harness{
//			Want: []string{"Batcher", "Locker"},
//			Open: func(tb testing.TB) backendtest.Subject {
//				server := startServer(tb)
//				proxy := startProxy(tb, server.Addr())
//				return backendtest.Subject{
//					Backend: mybackend.New(proxy.Addr()),
//					Other:   func(testing.TB) backends.Backend { return mybackend.New(server.Addr()) },
//					Stall:   proxy.Stall,
//					Resume:  proxy.Resume,
//					Kill:    proxy.Close,
//					Raw:     func(tb testing.TB, key string) []byte { return server.Read(tb, key) },
//				}
//			},
//		})
//	}
//
// Cases that need a capability run if [backends.CapabilitiesOf] finds it; a
// capability named in Harness.Want must be there. A means that the harness does
// not offer (a server to stall, a second handle) has to be excused with its
// reason, so that no case is lost by accident. Cases that do not apply are not
// run, never skipped.
//
// Bounds of time are generous where a slow machine could break them. The one
// that is part of the contract, a return within 100 ms of the end of a context,
// is given three tries with a fresh subject.
package backendtest
