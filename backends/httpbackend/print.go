package httpbackend

import (
	"fmt"

	"github.com/cachekit-io/cachekit-go/internal/guard"
)

// Format prints the options as fmt prints a struct, without the credentials that
// Proxy can hold.
func (o Options) Format(f fmt.State, verb rune) {
	type options Options
	v := options(o)
	v.Proxy = guard.Printable(o.Proxy)
	fmt.Fprintf(f, fmt.FormatString(f, verb), v)
}
