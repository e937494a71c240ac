// Package cachekitio stores entries in the CachekitIO service, or in a server
// that speaks its API, over HTTP/2.
package cachekitio
