package backendtest

import (
	"context"
	"slices"
	"testing"
)

// Case is one rule and the check of it.
type Case struct {
	// Name is the name of the subtest.
	Name string
	// Rule is what is checked; it is printed with every failure.
	Rule string
	// Needs names the capabilities and means without which the case does not
	// apply, as in Harness.Want and Harness.Without, or "MaxValue".
	Needs []string

	// once is set where a second run with another kind of context tells
	// nothing new.
	once bool
	run  func(t *probe)
}

// Cases returns all cases, in the order in which Run runs them.
func Cases() []Case {
	return slices.Concat(valueCases(), ttlCases(), keyCases(), concurrencyCases(), contextCases(),
		lateWriteCases(), lifecycleCases(), batchCases(), readManyCases(), entryCases(), lockCases(), lockManyCases(), scanCases(), swapCases(), watchCases())
}

// Run runs the case. Most run twice, with a context that can end and with one
// that cannot, because backends treat the two differently.
func (c Case) Run(tb testing.TB, h Harness) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	contexts := []context.Context{ctx, context.Background()}
	if c.once {
		contexts = contexts[:1]
	}
	for _, ctx := range contexts {
		t := newProbe(tb, h, c.Rule)
		t.ctx = ctx
		func() {
			defer t.end()
			c.run(t)
		}()
	}
}
