package cachekitio

import (
	"fmt"
	"net/url"
)

// Format prints the options as fmt prints a struct, without the credentials that
// Proxy can hold.
func (o Options) Format(f fmt.State, verb rune) {
	type options Options
	v := options(o)
	if v.Proxy != nil && v.Proxy.User != nil {
		proxy := *v.Proxy
		proxy.User = url.User("redacted")
		v.Proxy = &proxy
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), v)
}
